// Nothing here is needed to read the report.
(() => {
  // A printed page has no summary to click on; hundreds of rare labels stay where they are.
  const closed = new Set();
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open], .more)")) {
      closed.add(details);
      details.open = true;
    }
  });
  addEventListener("afterprint", () => {
    for (const details of closed) details.open = false;
    closed.clear();
  });

  const filter = document.querySelector("[data-filter]");
  if (!filter) return;
  filter.hidden = false;
  const rows = [...document.querySelectorAll("table.labels tbody tr")];
  const more = document.querySelector(".more");
  const status = filter.querySelector("[role=status]");
  filter.querySelector("input").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    let found = 0;
    for (const row of rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
      if (!row.hidden) found += 1;
    }
    if (more && wanted) more.open = true;
    status.textContent = wanted ? `${found} of ${rows.length} labels shown here` : "";
  });
})();
