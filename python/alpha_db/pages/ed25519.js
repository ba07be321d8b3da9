"use strict";

// SHA-256 and Ed25519, by the browser's own WebCrypto: Chromium 137, Firefox 129, Safari 17, or newer.

const NEWER_BROWSER = "Use a newer one: Chromium 137, Firefox 129 or Safari 17, or later.";

async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

async function sha256Hex(bytes) {
  return hexOf(await sha256(bytes));
}

// Key, message and signature are bytes. What is malformed is false, as in the database.
async function ed25519Verify(publicKey, message, signature) {
  if (publicKey.length !== 32 || signature.length !== 64) {
    return false;
  }
  try {
    const key = await crypto.subtle.importKey("raw", publicKey, "Ed25519", true, ["verify"]);
    return await crypto.subtle.verify("Ed25519", key, signature, message);
  } catch (problem) {
    if (problem.name === "NotSupportedError") {
      throw problem;
    }
    return false;
  }
}

// Returns why this browser cannot verify, in one sentence, or null if it can. It tries a signature of RFC 8032.
async function whyNoCrypto() {
  if (!globalThis.crypto?.subtle) {
    return globalThis.isSecureContext
      ? `This browser cannot verify signatures. ${NEWER_BROWSER}`
      : "This browser verifies signatures only in a page that was opened as a file, or by https.";
  }
  const key = bytesOfHex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  const signature = bytesOfHex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155" +
      "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  );
  try {
    const known = await ed25519Verify(key, new Uint8Array(), signature);
    const other = await ed25519Verify(key, new Uint8Array(1), signature);
    return known && !other ? null : `This browser verifies Ed25519 signatures wrongly. ${NEWER_BROWSER}`;
  } catch {
    return `This browser does not know Ed25519 signatures. ${NEWER_BROWSER}`;
  }
}
