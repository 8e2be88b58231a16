// What happens in the browser alone, given its words. Runs once, when the page has loaded; everything is watched from the
// document, because Gradio draws its parts anew whenever they change.
words => {
    const all = selector => document.querySelectorAll(selector);
    const set = (element, attribute, value) => {
        if (element.getAttribute(attribute) !== value) element.setAttribute(attribute, value);
    };
    const name = (element, label) => set(element, "aria-label", label.trim());
    const title = element => element.querySelector("[data-testid=block-info]").textContent.trim();

    // What Gradio leaves without a name, or names by a number, for those who hear the page
    const nameParts = () => {
        for (const image of all("#examples button img[alt='']")) {
            image.alt = decodeURIComponent(image.src).split("/").pop().replace(/\.[a-z]+$/, "");
            name(image.closest("button"), `${words.example}: ${image.alt}`);
        }
        for (const group of all("fieldset")) name(group, title(group));
        for (const button of all("[data-testid=reset-button]")) {
            name(button, `${words.reset} ${title(button.closest(".block"))}`);
        }
        for (const button of all("#models-asked span + [role=button]")) {
            name(button, `${words.remove} ${button.previousElementSibling.textContent}`);
        }
        const open = document.querySelector("#tabs [role=tab][aria-selected=true]");
        for (const panel of all("#tabs [role=tabpanel]")) {
            if (open && panel.style.display !== "none") name(panel, open.textContent);
        }
        // what has its label for a name would be read twice
        for (const label of all("[data-testid=block-info]")) {
            if (!label.closest("label")) set(label, "aria-hidden", "true");
        }
        // of a plot, each point of each line would be read aloud
        for (const plot of all("[aria-roledescription=visualization]")) {
            set(plot, "role", "img");
            name(plot, title(plot.closest(".block")));
        }
        // else a browser puts the focus on a long list, which then closes and takes the focus with it
        for (const list of all("[role=listbox]")) set(list, "tabindex", "-1");
    };

    // The status line is read aloud when it changes, so it must be there before; and the columns are found by name
    set(document.getElementById("status"), "role", "status");
    for (const [id, label] of Object.entries(words.regions)) {
        set(document.getElementById(id), "role", "region");
        name(document.getElementById(id), label);
    }

    // Explain and Stop take each other's place: so does the focus, unless it came by the pointer
    const turns = { explain: "stop", stop: "explain" };
    let focused = "", pointed = false;
    document.addEventListener("pointerdown", () => { focused = ""; pointed = true; }, true);
    document.addEventListener("keydown", () => { pointed = false; }, true);
    document.addEventListener("focusin", event => { focused = pointed ? "" : event.target.id; });
    const keepFocus = () => {
        if (document.activeElement !== document.body || !(focused in turns)) return;
        if (!document.getElementById(focused)) document.getElementById(turns[focused])?.focus();
    };

    const changed = () => {
        nameParts();
        keepFocus();
    };
    changed();
    const drawn = { subtree: true, childList: true, attributeFilter: ["src", "aria-label", "aria-selected"] };
    new MutationObserver(changed).observe(document.body, drawn);

    // As if it had been typed
    const say = (field, text) => {
        field.value = text;
        field.dispatchEvent(new Event("input", { bubbles: true }));
        setTimeout(() => field.dispatchEvent(new KeyboardEvent("keypress", { key: "Enter", bubbles: true })), 50);
    };

    // A photo among several becomes that of the page, which shows it in its first tab
    document.addEventListener("click", event => {
        const button = event.target.closest("button.take");
        if (!button) return;
        say(document.querySelector("#take textarea, #take input"), button.value);
        const first = document.querySelector("#tabs [role=tab]");
        first.click();
        first.focus();
    });

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
        say(field, large ? [left, top, right, bottom].map(value => value.toFixed(1)).join(", ") : "");
    });
}
