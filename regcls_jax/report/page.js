// One column at a time where a table has one per budget or λ. Without scripts the table is shown whole.
for (const box of document.querySelectorAll("[data-slider]")) {
  const heads = [...box.querySelectorAll("thead [data-step]")];
  const label = document.createElement("label");
  const range = document.createElement("input");
  const shown = document.createElement("output");
  range.type = "range";
  range.min = 0;
  range.max = heads.length;
  range.value = heads.length;
  const show = () => {
    const chosen = Number(range.value);
    shown.textContent = chosen < heads.length ? heads[chosen].textContent : "all columns";
    for (const cell of box.querySelectorAll("[data-step]"))
      cell.hidden = chosen < heads.length && Number(cell.dataset.step) !== chosen;
  };
  range.addEventListener("input", show);
  label.append(box.dataset.slider + " ", range, " ", shown);
  label.className = "slider";
  box.before(label);
  show();
}
