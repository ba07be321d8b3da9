"use strict";

// What the page says of its own verification, and the data that stands in it.

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;" };
const VOID = ["br", "col", "hr", "img", "input", "meta", "wbr"];
const SIGNS = { good: "✓", bad: "✗", warn: "!", unknown: "?" };

// The value of a data block of the page.
function dataOf(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

// An element or a text as tree.py writes it, from what the browser read.
function markupOf(node) {
  const escaped = (text) => text.replace(/[&<>"']/g, (each) => ESCAPES[each]);
  if (node.nodeType === Node.TEXT_NODE) {
    return escaped(node.data);
  }
  if (node.nodeType !== Node.ELEMENT_NODE) {
    return "<!>";
  }
  const name = node.localName;
  const start = `<${name}${Array.from(node.attributes, (each) => ` ${each.name}="${escaped(each.value)}"`).join("")}>`;
  if (VOID.includes(name)) {
    return start;
  }
  const isRaw = name === "style" || name === "script";
  const inner = isRaw ? node.textContent : Array.from(node.childNodes, markupOf).join("");
  const extra = (name === "pre" || name === "textarea") && inner.startsWith("\n") ? "\n" : "";
  return `${start}${extra}${inner}</${name}>`;
}

const isData = (node, ...ids) => node.localName === "script" && node.type === "application/json" && ids.includes(node.id);
const isCode = (node) => node.localName === "script" && node.type === "";
const isBlank = (node) => node.nodeType === Node.TEXT_NODE && node.data.trim() === "";

// All that the page says: its head and its body, without what stands between its parts, its seal, and the scripts,
// which do not run if they were changed, because the head has their hashes.
function markupOfPage() {
  const nodes = [...document.head.childNodes, ...document.body.childNodes];
  return nodes.filter((node) => !isBlank(node) && !isData(node, "seal", "seal-note") && !isCode(node)).map(markupOf).join("");
}

// A shadow root, which HTML can declare, would be shown instead of the nodes that are read. The same markup, parsed again
// by innerHTML, has none.
function withoutShadows() {
  for (const node of [...document.body.children].filter((each) => each.localName !== "script")) {
    const holder = document.createElement("div");
    holder.innerHTML = markupOf(node);
    node.replaceWith(...holder.childNodes);
  }
}

// The elements html and body stand in no seal: they get no shadow root, and no attributes that say anything.
function withPlainBody() {
  const body = document.createElement("body");
  body.append(...document.body.childNodes);
  document.body.replaceWith(body);
  for (const { name } of [...document.documentElement.attributes].filter((each) => each.name !== "lang")) {
    document.documentElement.removeAttribute(name);
  }
}

// Read before any script changes the page.
withoutShadows();
const PAGE_AS_READ = markupOfPage();
const PARSED = new Promise((resolve) => addEventListener("DOMContentLoaded", resolve));
PARSED.then(withPlainBody);

async function checkSeal() {
  await PARSED;
  // what stands behind the last script was not there yet when the page was read
  const isWhole = isCode([...document.body.childNodes].findLast((node) => !isBlank(node)));
  if (!isWhole || (await sha256Hex(bytesOfText(PAGE_AS_READ))) !== dataOf("seal")) {
    throw new Error("it was changed after it was written, or an extension of the browser changes it.");
  }
}

// Shows a state (good, bad, warn, unknown) and a sentence in an element that has a sign and a place for words.
function showState(element, kind, said) {
  element.className = `state ${kind}`;
  element.querySelector(".sign").textContent = SIGNS[kind];
  element.querySelector(".said").textContent = said;
}

// A page is red as a whole once anything in it is not what it says.
function showVerification(kind, said) {
  showState(document.getElementById("verification"), kind, said);
  document.body.classList.toggle("is-bad", kind === "bad");
}

// Compares the page with its seal, runs a verification, and shows what comes of it. `verify` returns the sentence that
// is shown when all is well, and throws an Error whose message says what is wrong.
async function verifyPage(verify) {
  const problem = await whyNoCrypto();
  if (problem) {
    showVerification("unknown", `Not verified: ${problem}`);
    return false;
  }
  showVerification("unknown", "Verifying …");
  try {
    await checkSeal();
    showVerification("good", await verify());
    return true;
  } catch (wrong) {
    showVerification("bad", `Do not trust this page: ${wrong.message}`);
    return false;
  }
}
