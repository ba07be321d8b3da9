"use strict";

// Verifies what a report has in it: rows, proofs, the signed checkpoint, and the signatures of proposals and votes.
// It believes nothing of the page. A tick needs the public keys that the reader pastes: with its own, any page is right.

const REPORT = dataOf("report");
const MAX_NAMED = 5;

// Whether keys that the reader pasted vouch for all of it, once it was verified.
let isVouchedFor = false;

function counted(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

function sameBytes(one, other) {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

async function treeNode(left, right) {
  return sha256(joined(Uint8Array.of(1), left, right));
}

// RFC 9162, 2.1.3.2. Sizes are below 2^53, but not below 2^31, so that >> is no division here.
async function isIncluded(rowHash, index, size, proof, root) {
  let [fn, sn, r] = [index, size - 1, await sha256(joined(Uint8Array.of(0), rowHash))];
  if (!(Number.isSafeInteger(index) && Number.isSafeInteger(size) && index >= 0 && index < size)) {
    return false;
  }
  for (const p of proof) {
    if (sn === 0) {
      return false;
    }
    if (fn % 2 === 1 || fn === sn) {
      r = await treeNode(p, r);
      while (fn % 2 === 0 && fn > 0) {
        [fn, sn] = [fn / 2, Math.floor(sn / 2)];
      }
    } else {
      r = await treeNode(r, p);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 && sameBytes(r, root);
}

// A public key as name+hash+key, see c2sp.org/signed-note.
async function readKey(text) {
  const [, name, id, content] = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/.exec(text.trim()) ?? [];
  const bytes = content ? bytesOfBase64(content) : new Uint8Array();
  const named = name && (await sha256Hex(joined(bytesOfText(`${name}\n`), bytes))).slice(0, 8);
  if (bytes.length !== 33 || bytes[0] !== 1 || named !== id) {
    throw new Error("that is no public key: one looks like name+01234567+AQ…, as alpha-db checkpoint show prints it.");
  }
  return { name, id, bytes: bytes.slice(1) };
}

// The text of a signed note, if one of the keys signed it. Throws an Error if none did.
async function openNote(note, keys, what) {
  const end = note.lastIndexOf("\n\n");
  const text = note.slice(0, end + 1);
  for (const line of note.slice(end + 2).split("\n")) {
    const [, name, encoded] = /^— (\S+) (\S+)$/.exec(line) ?? [];
    const signed = encoded ? bytesOfBase64(encoded) : new Uint8Array();
    for (const key of keys) {
      if (key.name === name && key.id === hexOf(signed.slice(0, 4))) {
        if (!(await ed25519Verify(key.bytes, bytesOfText(text), signed.slice(4)))) {
          throw new Error(`${what} was changed: it does not have the signature of ${name}.`);
        }
        return { text, key };
      }
    }
  }
  const named = keys.map((key) => `${key.name} (key ${key.id})`).join(", ");
  throw new Error(`${what} is not signed by ${named || "any key"}.`);
}

// Where each log stood, by the run that the signed checkpoint ends with.
async function openRun(run, keys) {
  const { text, key } = await openNote(run.note, keys, "the checkpoint");
  const [origin, size, root] = text.split("\n");
  if (origin !== key.name) {
    throw new Error(`the checkpoint is of ${origin}, and ${key.name} signed it.`);
  }
  const hash = await sha256(joined(bytesOfHex(run.previous), bytesOfText(run.row_data)));
  const isInLog = await isIncluded(hash, size - 1, Number(size), run.proof.map(bytesOfBase64), bytesOfBase64(root));
  const row = JSON.parse(run.row_data);
  if (!isInLog || row.id !== Number(size)) {
    throw new Error("the run that names the logs is not the one that was signed.");
  }
  return { size, key, heads: row.heads, time: row.created_at };
}

// Returns whether a row is in the log that was signed: a newer one is not. Throws an Error if it does not give its
// hash, or is another row than the one in the log.
async function verifyRow(row, head, nodes) {
  const name = `row ${row.id} of ${row.table}`;
  const hash = bytesOfHex(row.hash);
  if (row.length === undefined) {
    const text = textOf(row, name);
    if (row.previous === null) {
      throw new Error(`the row before ${name} is missing.`);
    }
    if (!sameBytes(await sha256(joined(bytesOfHex(row.previous), bytesOfText(text))), hash)) {
      throw new Error(`${name} does not give its hash: it, or the hash before it, was changed.`);
    }
    // the order of members is fixed, and id is the first
    if (!text.startsWith(`{"id":${row.id},`)) {
      throw new Error(`${name} says that it is another row.`);
    }
  }
  if (!row.proof) {
    if (head && row.id <= head.size) {
      throw new Error(`${name} has no proof, and the checkpoint covers it.`);
    }
    return false;
  }
  const proof = row.proof.map((at) => nodes[at]);
  if (!head || !(await isIncluded(hash, row.id - 1, head.size, proof, bytesOfHex(head.root)))) {
    throw new Error(`${name} is not row ${row.id} of the log that was signed.`);
  }
  return true;
}

async function verifySignature(signed) {
  const [key, signature] = [bytesOfHex(signed.key), bytesOfHex(signed.signature)];
  if (!(await ed25519Verify(key, bytesOfText(textOf(signed, `the signed text of ${signed.who}`)), signature))) {
    throw new Error(`the signature of ${signed.who} does not hold.`);
  }
}

// The keys to verify a signature with: those that the reader pasted under the same name, or else the page's own.
function keysToUse(own, pasted) {
  const mine = pasted.filter((key) => own.some((each) => each.name === key.name));
  return { keys: mine.length ? mine : own, isPasted: mine.length > 0 };
}

function byWhichKey(signed) {
  return signed.isPasted ? "by the key that you pasted" : "by the key in the page itself";
}

// Who signed the page, and by whose key; null if nobody did.
async function sealSigner(pasted) {
  const element = document.getElementById("seal-note");
  if (!element) {
    return null;
  }
  const { note, key } = JSON.parse(element.textContent);
  const { keys, isPasted } = keysToUse([await readKey(key)], pasted);
  const { text, key: signer } = await openNote(note, keys, "the report");
  if (text !== `alpha-db/report/v1\nsha256: ${dataOf("seal")}\n`) {
    throw new Error("the signature is of another report.");
  }
  return { key: signer, isPasted };
}

async function checkpointSigner(pasted) {
  if (!REPORT.run) {
    return null;
  }
  const { keys, isPasted } = keysToUse(await Promise.all(REPORT.run.keys.map(readKey)), pasted);
  return { ...(await openRun(REPORT.run, keys)), isPasted };
}

// What the page is as a whole, by who signed it.
function saidOfPage(signed, run, pasted) {
  if (!pasted.length) {
    const why = signed || run ? "its keys stand in the page. Paste the ones that you got elsewhere" : "nobody signed it";
    return `Nothing in this page contradicts the rest. Anyone can write such a page, because ${why}.`;
  }
  const unsigned = "Nobody signed the page, so nobody vouches for its verdict, figures and charts";
  return `Verified in this browser. ${signed ? `The page is as ${signed.key.name} signed it, ${byWhichKey(signed)}` : unsigned}.`;
}

// The names of keys that the reader pasted, and that signed nothing here. Throws an Error if that are all.
function unusedNames(pasted, signers) {
  const names = pasted.filter((key) => !signers.some((each) => each.key.name === key.name)).map((key) => key.name);
  if (names.length && names.length === pasted.length) {
    const others = signers.map((each) => each.key.name).join(", ") || "nobody";
    throw new Error(`${names.join(", ")}, whose key you pasted, signed nothing here. It is signed by ${others}.`);
  }
  return names;
}

// All that is wrong, as one Error; else what each gave.
async function everyOne(items, verify) {
  const [given, wrong] = [[], []];
  for (const item of items) {
    try {
      given.push(await verify(item));
    } catch (problem) {
      wrong.push(problem.message);
    }
  }
  return { given, wrong };
}

// What is wrong with rows and signatures, as one Error.
function throwAll(wrong) {
  if (wrong.length) {
    const more = wrong.length > MAX_NAMED ? ` And ${wrong.length - MAX_NAMED} more.` : "";
    const named = wrong.slice(0, MAX_NAMED).map((each) => each.replace(/\.$/, "")).join("; ");
    const known = REPORT.state === "damaged" ? " The verdict above says that the database itself is damaged." : "";
    throw new Error(`${named}.${more}${known}`);
  }
}

async function pastedKeys() {
  const given = document.getElementById("trust").value.split("\n").filter((line) => line.trim());
  return Promise.all(given.map(readKey));
}

async function verifyReport() {
  const pasted = await pastedKeys();
  const run = await checkpointSigner(pasted);
  const nodes = REPORT.nodes.map(bytesOfBase64);
  const rows = await everyOne(REPORT.rows, (row) => verifyRow(row, run?.heads[row.table], nodes));
  const signatures = await everyOne(REPORT.signatures, verifySignature);
  throwAll([...rows.wrong, ...signatures.wrong]);
  refuseOtherTexts([...REPORT.rows, ...REPORT.signatures]);
  const signed = await sealSigner(pasted);
  const unused = unusedNames(pasted, [signed, run].filter((each) => each));
  const inLog = rows.given.filter((isSigned) => isSigned).length;
  const newer = rows.given.length - inLog;
  isVouchedFor = Boolean(run?.isPasted && signed?.isPasted && newer === 0 && unused.length === 0);
  const cut = REPORT.rows.filter((row) => row.length !== undefined).map((row) => `row ${row.id} of ${row.table}`);
  return [
    saidOfPage(signed, run, pasted),
    ...unused.map((name) => `${name}, whose key you pasted, signed nothing here.`),
    `${rows.given.length - cut.length} rows give their hashes.`,
    cut.length ? `Too long to be here whole, so that their text is not verified: ${cut.join(", ")}.` : "",
    run
      ? `${counted(inLog, "row")} of these are in the log that ${run.key.name} signed with checkpoint ${run.size}, ` +
        `${byWhichKey(run)}.`
      : "No checkpoint is in the page, so nobody vouches for the rows but the database.",
    run && newer ? `Newer than the checkpoint, so that nobody vouches for them yet: ${counted(newer, "row")}.` : "",
    signatures.given.length ? `Signatures of proposals and votes that hold: ${signatures.given.length}.` : "",
    `The verdict on the database stands above: ${REPORT.state}.`,
  ].filter((said) => said).join(" ");
}

async function verifyAndShow() {
  try {
    await ((await whyNoCrypto()) ?? pastedKeys());
  } catch (problem) {
    showVerification("unknown", `Not verified: ${problem.message}`); // a slip of the reader is no fault of the page
    return;
  }
  const isGood = await verifyPage(verifyReport);
  if (isGood && !(isVouchedFor && REPORT.state === "intact")) {
    showVerification("warn", document.querySelector("#verification .said").textContent);
  }
}

// On paper nobody can open what is closed. Trades are left to the reader, or there would be hundreds of pages.
function openNumbers() {
  for (const each of document.querySelectorAll("figure details")) {
    each.open = true;
  }
}

document.getElementById("verify-button").addEventListener("click", verifyAndShow);
addEventListener("beforeprint", openNumbers);
if (location.hash === "#verify") {
  verifyAndShow();
} else {
  showVerification("unknown", "Not verified yet: press the button below.");
}
