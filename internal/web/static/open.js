// Dropping a file on the form is as good as choosing it.
"use strict";
const form = document.getElementById("drop");
const input = document.getElementById("dump");
const doing = document.getElementById("doing");
form.classList.add("droppable");
for (const type of ["dragover", "dragleave", "drop"]) {
  form.addEventListener(type, (event) => {
    event.preventDefault();
    form.classList.toggle("over", type === "dragover");
  });
}
form.addEventListener("drop", (event) => {
  if (event.dataTransfer.files.length === 1) {
    input.files = event.dataTransfer.files;
    form.requestSubmit();
  } else {
    doing.textContent = "One file at a time, please.";
  }
});
form.addEventListener("submit", () => { doing.textContent = "Walking the stacks…"; });
