(() => {
  "use strict";
  const read = (name) => JSON.parse(document.getElementById(name).textContent);
  const themes = read("themes");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Map();

  // `ast`: expressions are interpreted, and not compiled, which the page's policy forbids.
  const draw = async (element, spec) => {
    const theme = dark.matches ? "dark" : "light";
    drawn.get(element)?.finalize();
    drawn.set(element, null);
    const options = { mode: "vega-lite", actions: false, renderer: "svg", ast: true, config: themes[theme], tooltip: { theme } };
    drawn.set(element, await vegaEmbed(element, structuredClone(spec), options));
  };

  // What a closed <details> holds has no width yet.
  const isShown = (element) => !element.closest("details:not([open])");
  const charts = [...document.querySelectorAll(".chart")].filter((element) => document.getElementById(`${element.id}-spec`));
  const drawNew = () => {
    for (const element of charts) {
      if (isShown(element) && !drawn.has(element)) draw(element, read(`${element.id}-spec`));
    }
  };
  for (const each of document.querySelectorAll("details")) each.addEventListener("toggle", drawNew);
  dark.addEventListener("change", () => {
    drawn.forEach((view) => view?.finalize());
    drawn.clear();
    drawNew();
    document.dispatchEvent(new Event("redraw"));
  });
  drawNew();

  // A sweep: the form chooses rows of the table and points of the chart alike.
  const form = document.getElementById("filters");
  if (!form) return;
  const points = read("sweep-points");
  const specs = document.getElementById("sweep-specs") ? read("sweep-specs") : {};
  const titles = document.getElementById("sweep-titles") ? read("sweep-titles") : {};
  const place = document.getElementById("pareto");
  const body = document.querySelector("#rows tbody");
  const rows = [...body.rows];
  const choices = [...form.querySelectorAll("select.choice")];
  const first = Object.keys(specs)[0]?.split("\n") ?? [];
  const value = (name, otherwise) => form.elements[name]?.value ?? otherwise;
  const isChosen = (point) =>
    choices.every((each) => !each.value || String(point[each.name]) === each.value) &&
    (!form.elements.pareto.checked || point.pareto);

  const show = () => {
    const chosen = points.filter(isChosen);
    const numbers = new Set(chosen.map((point) => point.number));
    rows.forEach((row, number) => (row.hidden = !numbers.has(number)));
    document.getElementById("shown").textContent = `${chosen.length} of ${points.length} shown.`;
    if (!place) return;
    const [x, y] = [value("x", first[0]), value("y", first[1])];
    const there = chosen.filter((point) => point[x] !== null && point[y] !== null);
    drawn.get(place)?.finalize();
    place.replaceChildren();
    document.getElementById("empty").textContent = there.length
      ? ""
      : `There is no chart: none of the rows that are shown has both figures (${titles[x]}; ${titles[y]}).`;
    if (there.length) draw(place, { ...specs[`${x}\n${y}`], data: { values: there } });
  };

  const sort = (head) => {
    const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    for (const each of head.parentNode.cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const key = (number) => points[number][head.dataset.sort];
    const order = points.map((point) => point.number).sort((one, other) => {
      const [a, b] = [key(one), key(other)];
      if (a === b) return one - other;
      if (a === null || b === null) return a === null ? 1 : -1; // what has no figure comes last either way
      return sign * (typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
    });
    body.append(...order.map((number) => rows[number]));
  };

  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("redraw", show);
  for (const head of document.querySelectorAll("#rows [data-sort]")) head.firstElementChild.addEventListener("click", () => sort(head));
  show();
})();
