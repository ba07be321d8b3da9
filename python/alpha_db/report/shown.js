"use strict";

// Compares what a reader sees with what is verified: else a page could show one text, and verify another.

const MAX_SHOWN = 4000; // characters, as reading.py has it

// Whether a text is shown as it is: each character as itself, or as \uXXXX if it hides; a long text is cut at the end.
function isShown(text, shown) {
  let at = 0;
  for (const character of Array.from(text).slice(0, MAX_SHOWN)) {
    const escape = `\\u${character.codePointAt(0).toString(16).padStart(4, "0")}`;
    const found = [character, escape].find((each) => shown.startsWith(each, at));
    if (found === undefined) {
      return false;
    }
    at += found.length;
  }
  return at === shown.length;
}

// The text to verify: that which is shown, or the one that stands for it. Throws an Error if these differ.
function textOf(item, name) {
  const shown = document.getElementById(item.element).textContent;
  if (item.text !== undefined && !isShown(item.text, shown)) {
    throw new Error(`${name} is shown otherwise than it is.`);
  }
  return item.text ?? shown;
}

// Texts that look like rows and signed texts, and that nothing is verified of; those of long signed texts say so.
function unverifiedTexts(items) {
  const known = new Set(items.map((item) => item.element));
  const isVerified = (each) => known.has(each.id) && document.getElementById(each.id) === each;
  return Array.from(document.querySelectorAll("pre")).filter((each) => !isVerified(each));
}

// Throws an Error if a text is shown as a row, and is verified nowhere.
function refuseOtherTexts(items) {
  if (unverifiedTexts(items).some((each) => !/^(proposal|vote)-/.test(each.id))) {
    throw new Error("a text is shown like a row, and it is none of the rows that are verified.");
  }
}
