"use strict";

// Bytes as hex, as base64 and as text. What is malformed throws an Error whose message a person can read.

function bytesOfHex(text) {
  if (typeof text !== "string" || text.length % 2 || !/^[0-9a-f]*$/.test(text)) {
    throw new Error("this is not hex in lower case");
  }
  return Uint8Array.from({ length: text.length / 2 }, (_, at) => parseInt(text.slice(2 * at, 2 * at + 2), 16));
}

function hexOf(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function bytesOfBase64(text) {
  let binary;
  try {
    binary = atob(text);
  } catch {
    throw new Error("this is not base64");
  }
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function base64Of(bytes) {
  let binary = "";
  for (const byte of bytes) {
    binary += String.fromCharCode(byte);
  }
  return btoa(binary);
}

// A text that is no text (half of a surrogate pair) would silently become another one.
function bytesOfText(text) {
  if (typeof text !== "string" || !text.isWellFormed()) {
    throw new Error("this is not Unicode text");
  }
  return new TextEncoder().encode(text);
}

function joined(...parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
