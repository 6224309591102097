"use strict";
// A click on an operation keeps what is known of it in sight; a second one lets it go.
const detail = document.getElementById("detail");
for (const bar of document.querySelectorAll(".bar, .band")) {
  bar.addEventListener("click", () => {
    detail.hidden = !detail.hidden && detail.textContent === bar.title;
    detail.textContent = bar.title;
  });
}
// The first operation that is wrong is scrolled to. What is drawn is counted, for whoever looks at the page by program.
const wrong = document.querySelector(".bar.failed");
if (wrong) wrong.scrollIntoView({ block: "nearest", inline: "center" });
const drawn = (what) => [...document.querySelectorAll(what)].filter((at) => at.getBoundingClientRect().width > 1).length;
document.body.dataset.drawn = `${drawn(".bar")} operations, ${drawn(".failed, .core")} highlighted, ${drawn(".band")} faults, ${drawn(".txn")} transactions`;
