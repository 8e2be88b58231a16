// What happens in the browser alone. Runs once, when the page has loaded; everything is watched from the document, because
// Gradio draws its parts anew whenever they change.
() => {
    // The examples' pictures have no text alternative, and are drawn some time after the page has loaded
    const nameExamples = () => {
        for (const image of document.querySelectorAll("#examples button img[alt='']")) {
            image.alt = decodeURIComponent(image.src).split("/").pop().replace(/\.[a-z]+$/, "");
            image.closest("button").setAttribute("aria-label", `Example: ${image.alt}`);
        }
    };
    nameExamples();
    const drawn = { subtree: true, childList: true, attributeFilter: ["src"] };
    new MutationObserver(nameExamples).observe(document.body, drawn);

    // A picture fills the screen, and goes back
    document.addEventListener("click", event => {
        const button = event.target.closest(".enlarge");
        if (!button) return;
        if (document.fullscreenElement) document.exitFullscreen();
        else button.closest("figure").requestFullscreen();
    });

    // A box is drawn with the pointer on the photo and goes, in per cent of it, the way of one that is typed
    let start = null, picture = null;
    const place = event => {
        const frame = picture.getBoundingClientRect();
        const share = (at, from, length) => Math.min(100, Math.max(0, 100 * (at - from) / length));
        return [share(event.clientX, frame.left, frame.width), share(event.clientY, frame.top, frame.height)];
    };
    const between = (a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
    document.addEventListener("pointerdown", event => {
        const touched = event.target.closest("#boxed .picture");
        if (event.button !== 0 || !touched) return;
        event.preventDefault();
        picture = touched;
        start = place(event);
        picture.setPointerCapture(event.pointerId);
    });
    document.addEventListener("pointermove", event => {
        if (!start) return;
        const [left, top, right, bottom] = between(start, place(event));
        const style = `left:${left}%;top:${top}%;width:${right - left}%;height:${bottom - top}%`;
        picture.querySelector(".box").setAttribute("style", style);
    });
    document.addEventListener("pointercancel", () => { start = null; });
    document.addEventListener("pointerup", event => {
        if (!start) return;
        const [left, top, right, bottom] = between(start, place(event));
        start = null;
        const field = document.querySelector("#box textarea, #box input");
        const large = right - left >= 1 && bottom - top >= 1; // a mere click takes the box away
        field.value = large ? [left, top, right, bottom].map(value => value.toFixed(1)).join(", ") : "";
        field.dispatchEvent(new Event("input", { bubbles: true }));
        setTimeout(() => field.dispatchEvent(new KeyboardEvent("keypress", { key: "Enter", bubbles: true })), 50);
    });
}
