"use strict";

// The server stores the current image and the undo steps of each browser tab, also after a reload.
const browser = (sessionStorage.browser ??= crypto.randomUUID());
const NONE = "none of these", KEYS = "1234567890";
const $ = (id) => document.getElementById(id);
const percent = (fraction) => `${(100 * fraction).toFixed(1)} %`;
let view = null, busy = true, done = "";

async function ask(path, body) {
  busy = true;
  try {
    const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ browser, ...body }) };
    const answer = await fetch(path, options);
    if (!answer.ok && answer.status !== 409) throw new Error(await answer.text());
    show(await answer.json());
  } catch (error) {
    busy = false;
    $("message").textContent = error instanceof TypeError
      ? "The server does not answer. All labels are saved. Start the command again and open the new address."
      : error.message;
  }
}

// An image can be labeled only after it is displayed.
const change = (path, body, what) => { if (!busy) { done = what; ask(path, body); } };
const label = (name) => { if (view?.image) change("label", { image: view.image.index, label: name }, `Labeled: ${name}`); };
const skip = () => { if (view?.image) change("skip", { image: view.image.index }, "Postponed"); };
const undo = () => { if (view?.undo) change("undo", {}, "Last label removed"); };
const zoom = () => document.body.classList.toggle("large");

function show(next) {
  view = next;
  const { image, progress, audit, fitted } = view;
  for (const [id, part, what] of [["chosen", progress.chosen, "chosen"], ["audited", progress.audit, "audit"]]) {
    $(id).max = part.all || 1;
    $(id).value = part.labeled;
    $(`${id}-count`).textContent = `${part.labeled} of ${part.all} ${what}`;
  }
  $("accuracy").textContent = accuracy(audit, fitted);
  $("message").textContent = view.message || (image ? done : "All images are labeled. Close this page and end the command with Ctrl-C.");
  $("guess").textContent = image?.guess
    ? `The model predicts ${image.guess.label}, ${percent(image.guess.probability)}`
    : image ? "Audit image: the prediction of the model is hidden, so that it does not influence you" : "";
  $("similar").hidden = !image?.neighbors?.length;
  $("neighbors").replaceChildren(...(image?.neighbors ?? []).map(neighbor));
  $("path").textContent = image?.path ?? "";
  document.body.classList.remove("large");
  showClasses();
  for (const id of ["skip", "none", "zoom", "larger"]) $(id).disabled = !image;
  $("undo").disabled = !view.undo;
  showImage(image);
  if (view.following !== null) new Image().src = `image/${view.following}`;
}

function accuracy(audit, fitted) {
  if (!audit) return "Accuracy in this place: no audit image is labeled yet";
  const { value, ci95, n } = audit.now;
  const gain = fitted ? ` with ${fitted} labels, ${percent(audit.before.value)} before` : "";
  return `Accuracy in this place: ${percent(value)}${gain}; 95 % interval from ${n} audit images: ${ci95.map(percent).join(" to ")}`;
}

function showImage(image) {
  const shown = $("image");
  shown.hidden = !image;
  if (!image) { busy = false; return; }
  shown.alt = image.path;
  shown.onload = () => { busy = false; };
  shown.onerror = () => { busy = false; $("message").textContent = "This image cannot be displayed. Skip it."; };
  shown.src = `image/${image.index}`;
}

function neighbor({ index, label }) {
  const item = document.createElement("li"), image = new Image();
  image.src = `image/${index}`;
  image.alt = "";
  item.append(image, label);
  return item;
}

const guess = () => view.image?.guess?.label;
const many = () => view.classes.length > KEYS.length;

// The earlier a class contains the text, the earlier it is listed. Without text, a predicted class comes first.
function matching() {
  const text = $("filter").value.toLowerCase(), place = (name) => name.toLowerCase().indexOf(text);
  if (!many()) return view.classes;
  if (!text) return view.classes.toSorted((a, b) => (b === guess()) - (a === guess()));
  return view.classes.filter((name) => place(name) >= 0).sort((a, b) => place(a) - place(b));
}

function showClasses() {
  $("filter").hidden = !many();
  $("filter").value = "";
  if (!matchMedia("(pointer: coarse)").matches) $("filter").focus(); // on a phone, the focus opens the keyboard
  listClasses();
}

function listClasses() {
  $("classes").replaceChildren(...matching().map((name, index) => {
    const button = document.createElement("button"), key = document.createElement("kbd");
    key.textContent = many() ? "" : `${KEYS[index]} `;
    button.append(key, name);
    button.classList.toggle("guess", name === guess());
    button.disabled = !view.image;
    button.onclick = () => label(name);
    return button;
  }));
}

$("filter").addEventListener("input", listClasses);
$("undo").onclick = undo;
$("skip").onclick = skip;
$("none").onclick = () => label(NONE);
$("zoom").onclick = $("larger").onclick = zoom;

document.addEventListener("keydown", (event) => {
  if (!view || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = $("filter").value !== "", on = document.activeElement?.tagName === "BUTTON";
  const digit = many() ? -1 : KEYS.indexOf(event.key);
  if (digit >= 0 && digit < view.classes.length) label(view.classes[digit]);
  else if (many() && event.key === "Enter" && !on) { if (typing && matching().length) label(matching()[0]); }
  else if (many() && event.key === "Escape") { $("filter").value = ""; listClasses(); }
  else if (typing) return;
  else if (event.key === "ArrowLeft") undo();
  else if (event.key === "ArrowRight") skip();
  else if (event.key === "-") label(NONE);
  else if (event.key === " " && !on) zoom();
  else return;
  event.preventDefault();
});

ask(`view?browser=${browser}`);
