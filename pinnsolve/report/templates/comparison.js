"use strict";
(function () {
  var table = document.getElementById("runs");
  var body = table.tBodies[0];
  var rows = Array.prototype.slice.call(body.rows);
  var status = document.getElementById("shown");
  var filters = ["problem", "activation"].map(function (name) { return document.getElementById("filter-" + name); });
  var search = document.getElementById("filter-text");

  function value(row, column) {
    var cell = row.cells[column];
    var key = cell.getAttribute("data-key");
    return key === null ? cell.textContent : key === "" ? Infinity : Number(key);
  }

  function sort(button) {
    var heading = button.parentNode;
    var column = heading.cellIndex;
    var ascending = heading.getAttribute("aria-sort") !== "ascending";
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (cell) { cell.removeAttribute("aria-sort"); });
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    rows.sort(function (a, b) {
      var x = value(a, column), y = value(b, column);
      // what has no number stays at the end, whichever way the others are sorted
      if (x === Infinity || y === Infinity) { return x === y ? 0 : x === Infinity ? 1 : -1; }
      var order = typeof x === "number" ? x - y : x.localeCompare(y);
      return ascending ? order : -order;
    });
    rows.forEach(function (row) { body.appendChild(row); });
  }

  function filter() {
    var text = search.value.toLowerCase();
    var shown = 0;
    rows.forEach(function (row) {
      var fits = filters.every(function (select) {
        return select.value === "" || row.getAttribute("data-" + select.id.slice(7)) === select.value;
      }) && row.textContent.toLowerCase().indexOf(text) >= 0;
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    status.textContent = shown + " of " + rows.length + " runs shown";
  }

  table.tHead.addEventListener("click", function (event) {
    var button = event.target.closest("button");
    if (button) { sort(button); }
  });
  filters.concat([search]).forEach(function (input) { input.addEventListener("input", filter); });
  document.getElementById("filters").hidden = false;
  filter();
})();
