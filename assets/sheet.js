// A sheet of photos is sorted and filtered. Without this they stand in the order in which they were named.
(() => {
    const [tools, list, order, kind, text, count] =
        ["tools", "cards", "order", "class", "text", "count"].map(id => document.getElementById(id));
    const cards = [...list.children];
    const words = new Map(cards.map(card => [card, card.querySelector(".words").textContent.toLowerCase()]));

    const sort = () => {
        const [key, sign] = order.value.split(" ");
        const compare = (a, b) => {
            const [one, other] = [a.dataset[key], b.dataset[key]];
            if (key === "name") return one.localeCompare(other, undefined, { numeric: true });
            // where it is not known it comes last; what is equal stays as it was named
            return (one === undefined) - (other === undefined) || sign * (one - other) || 0;
        };
        list.replaceChildren(...[...cards].sort(compare));
    };
    const filter = () => {
        const wanted = text.value.toLowerCase().split(/\s+/);
        for (const card of cards) {
            const fits = !kind.value || card.dataset.category === kind.value;
            card.hidden = !(fits && wanted.every(word => words.get(card).includes(word)));
        }
        const shown = cards.filter(card => !card.hidden).length;
        count.textContent = shown === cards.length ? `${shown} shown` : `${shown} of ${cards.length} shown`;
    };

    order.addEventListener("change", sort);
    kind.addEventListener("change", filter);
    text.addEventListener("input", filter);
    tools.hidden = false;
    sort(); // a page that is opened again keeps what was chosen
    filter();
})();
