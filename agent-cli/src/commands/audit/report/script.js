"use strict";
// The page is whole without this. What it adds: a filter by text, links that open their row, a key that goes to the filter, and
// columns for the facts of a row that is open. Text is only ever made of text.
(() => {
  document.documentElement.classList.add("scripted");
  const field = document.getElementById("filter");
  const shown = document.getElementById("shown");
  const rows = [...document.querySelectorAll("#rows > .day > .row")];
  const days = [...document.querySelectorAll("#rows > .day")];
  let texts = null;

  // A closed row's words, and the fingerprints behind its names.
  const text = (row) => {
    const summary = row.firstElementChild;
    const titles = [...summary.querySelectorAll("[title]")].map((element) => element.title);
    return [summary.textContent, ...titles].join(" ").toLowerCase();
  };

  const filter = () => {
    const kind = document.querySelector(".choice:checked").value;
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    texts ??= rows.map(text);
    let count = 0;
    rows.forEach((row, place) => {
      const wanted = words.every((word) => texts[place].includes(word));
      if (row.hidden === wanted) row.hidden = !wanted;
      count += wanted && (kind === "all" || row.classList.contains(kind));
    });
    const left = kind === "all" ? ".row:not([hidden])" : `.row.${kind}:not([hidden])`;
    for (const day of days) day.hidden = !day.querySelector(left);
    shown.textContent = words.length || kind !== "all" ? `${count} of ${rows.length}` : "";
  };

  let waiting = 0;
  field.addEventListener("input", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(filter);
  });
  document.getElementById("log").addEventListener("change", (event) => event.target.matches(".choice") && filter());
  field.form.addEventListener("submit", (event) => event.preventDefault());

  const made = (name, text, cls) => {
    const element = document.createElement(name);
    element.textContent = text;
    if (cls) element.className = cls;
    return element;
  };

  // The facts of a row: lines that begin with a tab have a name and a value, the others are headings with whose word it is.
  const columns = (facts) => {
    const box = made("div", "", "facts");
    let list = null;
    for (const line of facts.textContent.split("\n").filter(Boolean)) {
      const [first, name, value] = line.split("\t");
      if (name === undefined) {
        const [, title, source] = first.match(/^(.*?)(?: \[(.*)\])?$/);
        const heading = made("h4", title);
        if (source) heading.append(made("small", source));
        list = document.createElement("dl");
        box.append(heading, list);
      } else {
        const code = /^\S{24,}$/.test(value) ? "code" : "";
        list.append(made("dt", name), made("dd", value, code));
      }
    }
    facts.replaceWith(box);
  };
  document.addEventListener("toggle", (event) => {
    const facts = event.target.open && event.target.querySelector("pre.facts");
    if (facts) columns(facts);
  }, true);

  // Names in tables lead to their rows.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-find]");
    if (!link) return;
    document.getElementById("show-all").checked = true;
    field.value = link.dataset.find;
    filter();
  });

  const open = () => {
    const row = document.getElementById(location.hash.slice(1));
    if (!row?.matches(".row")) return;
    document.getElementById("show-all").checked = true;
    field.value = "";
    if (texts) filter();
    row.open = true;
    row.scrollIntoView({ block: "start" });
    row.firstElementChild.focus({ preventScroll: true });
  };
  addEventListener("hashchange", open);
  open();

  addEventListener("keydown", (event) => {
    if (event.target === field && event.key === "Escape") {
      field.value = "";
      filter();
    } else if (event.key === "/" && !event.target.closest("input") && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  });
})();
