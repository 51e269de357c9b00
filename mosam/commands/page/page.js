"use strict";
(() => {
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const words = new Intl.Collator("en", { numeric: true });

  // Tables sort by a click on a heading; cells without a value stay last either way.
  const value = (row, column) => {
    const cell = row.cells[column];
    if (column === 0) return cell.textContent.trim();
    if (cell.classList.contains("text")) return cell.textContent.trim();
    return "v" in cell.dataset ? Number(cell.dataset.v) : null;
  };
  for (const table of all("table.sortable")) {
    all("thead button", table).forEach((button, column) => {
      button.addEventListener("click", () => {
        const heading = button.closest("th");
        const before = heading.getAttribute("aria-sort");
        const falling = before ? before === "ascending" : column > 0;
        for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [value(row, column), row]);
        rows.sort(([a], [b]) => {
          if (a === null || b === null) return (a === null) - (b === null);
          const order = typeof a === "string" ? words.compare(a, b) : a - b;
          return falling ? -order : order;
        });
        body.append(...rows.map(([, row]) => row));
      });
    });
  }

  // Filters hide rows, and of sequences also their parts below.
  const apply = (id) => {
    const text = (document.querySelector(`[data-filters="${id}"]`)?.value || "").trim().toLowerCase();
    const tag = document.querySelector(`[data-attribute="${id}"]`)?.value || "";
    const rows = [...document.getElementById(id).tBodies[0].rows];
    let shown = 0;
    for (const row of rows) {
      const tags = (row.dataset.tags || "").split("\n");
      const keep = row.dataset.text.includes(text) && (!tag || tags.includes(tag));
      row.hidden = !keep;
      shown += keep;
      const link = row.querySelector("a[href^='#']");
      if (link) document.getElementById(link.hash.slice(1)).hidden = !keep;
    }
    document.getElementById(`${id}-count`).textContent = `${shown} of ${rows.length} shown`;
  };
  for (const input of all("[data-filters], [data-attribute]")) {
    const id = input.dataset.filters || input.dataset.attribute;
    input.addEventListener("input", () => apply(id));
    apply(id); // a browser may have kept what was typed before
  }

  const differences = (box) => {
    const rows = [...document.getElementById(box.dataset.differences).tBodies[0].rows];
    for (const row of rows) row.hidden = box.checked && !row.classList.contains("differs");
    const shown = rows.filter((row) => !row.hidden).length;
    document.getElementById(`${box.dataset.differences}-count`).textContent = `${shown} of ${rows.length} shown`;
  };
  for (const box of all("[data-differences]")) {
    box.addEventListener("change", () => differences(box));
    differences(box);
  }

  // A link to a sequence opens it.
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target || target.tagName !== "DETAILS") return;
    target.hidden = false;
    target.open = true;
    target.scrollIntoView();
    target.querySelector("summary").focus({ preventScroll: true });
  };
  addEventListener("hashchange", open);
  for (const link of all("table.sortable a")) {
    link.addEventListener("click", () => { if (link.hash === location.hash) open(); });
  }
  open();

  // The pictures are in the page once; their links take them from there.
  for (const link of all("a.save")) link.href = link.closest("figure").querySelector("img").src;
})();
