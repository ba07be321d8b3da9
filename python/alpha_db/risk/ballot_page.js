"use strict";

// The page of one proposal: it verifies what it shows, and signs a vote with a key that stays in this page.

const BALLOT = dataOf("ballot");
const PKCS8_HEAD = bytesOfHex("302e020100300506032b657004220420");

function byId(id) {
  return document.getElementById(id);
}

// What a signed text says: its lines, each a name and a value in JSON.
function fieldsOf(text) {
  const fields = {};
  for (const line of text.split("\n").slice(1, -1)) {
    const end = line.indexOf(": ");
    fields[line.slice(0, end)] = JSON.parse(line.slice(end + 2));
  }
  return fields;
}

function voteText(decision, agentId, signedAt) {
  return (
    "alpha-db/approval/v1\n" +
    `origin: ${JSON.stringify(BALLOT.origin)}\n` +
    `decision: ${JSON.stringify(decision)}\n` +
    `digest: ${JSON.stringify(BALLOT.digest)}\n` +
    `agent: ${JSON.stringify(agentId)}\n` +
    `signed_at: ${JSON.stringify(signedAt)}\n`
  );
}

async function isSigned(agent, text, signature) {
  return ed25519Verify(bytesOfHex(agent.public_key), bytesOfText(text), bytesOfHex(signature));
}

// A decimal without the zeros at its end, or null.
function plainDecimal(text) {
  return text == null ? null : text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

// Throws unless the limits or the threshold that are shown are those of the signed text, and of the state before.
function checkChanges(said) {
  const isLimits = said.kind === "risk_config";
  if (!isLimits && said.kind !== "asset_kill_threshold") {
    return;
  }
  // Numbers as text, because a number of JavaScript has too few digits.
  const state = JSON.parse(BALLOT.state_text.replace(/(?<!\\)":(\d+(?:\.\d+)?)/g, '":"$1"'));
  const asset = said.payload.asset;
  const before = isLimits ? state.limits : state.kill_thresholds.find((each) => each.asset === asset);
  const after = said.payload.retired ? {} : said.payload;
  for (const change of BALLOT.changes) {
    const name = isLimits ? change.name : change.name.slice(change.name.lastIndexOf(" ") + 1);
    const isOld = plainDecimal(change.old) === plainDecimal(before?.[name]);
    if (!isOld || plainDecimal(change.new) !== plainDecimal(after[name])) {
      throw new Error(`${change.name} is shown otherwise than it was signed.`);
    }
  }
}

async function verifyBallot() {
  const said = fieldsOf(BALLOT.signed_text);
  if ((await sha256Hex(bytesOfText(BALLOT.signed_text))) !== BALLOT.digest) {
    throw new Error("the digest is not that of the proposal's text.");
  }
  if (!(await isSigned(BALLOT.proposer, BALLOT.signed_text, BALLOT.signature))) {
    throw new Error(`${BALLOT.proposer.name} did not sign this text.`);
  }
  const { origin, proposal_id, kind, reason, proposer, expires } = BALLOT;
  const wanted = [origin, proposal_id, kind, reason, proposer.agent_id, expires];
  const signed = [said.origin, said.proposal, said.kind, said.reason, said.proposer, said.expires];
  if (JSON.stringify(wanted) !== JSON.stringify(signed)) {
    throw new Error("it shows other things than were signed.");
  }
  if ((await sha256Hex(bytesOfText(BALLOT.state_text))) !== said.previous) {
    throw new Error("the old values are not those that the proposal was made for.");
  }
  checkChanges(said);
  for (const vote of BALLOT.votes) {
    if (!(await isSigned(vote, voteText(vote.decision, vote.agent_id, vote.signed_at), vote.signature))) {
      throw new Error(`${vote.name} did not sign the vote that is shown.`);
    }
  }
  const votes = BALLOT.votes.length === 0 ? "" : ` The signatures of the votes hold, too: ${BALLOT.votes.length}.`;
  return `This browser verified that ${BALLOT.proposer.name} signed exactly the text below.${votes}`;
}

function show(kind, said) {
  byId("told").hidden = false;
  showState(byId("told"), kind, said);
}

// Reads a text that SSH's own form of a key has: its length, then its bytes.
function readString(bytes, at) {
  const length = new DataView(bytes.buffer).getUint32(at);
  return { bytes: bytes.slice(at + 4, at + 4 + length), next: at + 4 + length };
}

function seedOfOpenSsh(bytes) {
  const text = (part) => new TextDecoder().decode(part);
  const magic = "openssh-key-v1\0";
  if (text(bytes.slice(0, magic.length)) !== magic) {
    throw new Error("This is not a whole OpenSSH key.");
  }
  const cipher = readString(bytes, magic.length);
  if (text(cipher.bytes) !== "none") {
    throw new Error("This key is encrypted. Make a copy without a passphrase: ssh-keygen -p -N '' -f COPY");
  }
  const options = readString(bytes, readString(bytes, cipher.next).next);
  const inner = readString(bytes, readString(bytes, options.next + 4).next).bytes;
  const name = readString(inner, 8);
  if (text(name.bytes) !== "ssh-ed25519") {
    throw new Error("This is not an Ed25519 key.");
  }
  return readString(inner, readString(inner, name.next).next).bytes.slice(0, 32);
}

function seedOfPkcs8(bytes) {
  const at = hexOf(bytes).indexOf("06032b657004220420") / 2;
  if (at < 0 || bytes.length < at + 41) {
    throw new Error("This is not an Ed25519 key.");
  }
  return bytes.slice(at + 9, at + 41);
}

// The 32 secret bytes of a private key in PEM form.
function seedOf(text) {
  const found = /-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \1-----/.exec(text);
  if (!found) {
    throw new Error("This is not a private key in PEM form. It begins with -----BEGIN.");
  }
  const bytes = () => bytesOfBase64(found[2].replace(/\s/g, ""));
  switch (found[1]) {
    case "PRIVATE KEY":
      return seedOfPkcs8(bytes());
    case "OPENSSH PRIVATE KEY":
      return seedOfOpenSsh(bytes());
    case "ENCRYPTED PRIVATE KEY":
      throw new Error("This key is encrypted. Show it without a passphrase (openssl pkey -in FILE), and paste that.");
    case "PUBLIC KEY":
      throw new Error("This is the public key. The private one is needed.");
    default:
      throw new Error(`This is not an Ed25519 private key, but: ${found[1]}.`);
  }
}

// Signs a text. Throws if the key is not the agent's.
async function signed(agent, pem, text) {
  const secret = joined(PKCS8_HEAD, seedOf(pem));
  try {
    const key = await crypto.subtle.importKey("pkcs8", secret, "Ed25519", true, ["sign"]);
    const { x } = await crypto.subtle.exportKey("jwk", key);
    if (hexOf(bytesOfBase64(x.replaceAll("-", "+").replaceAll("_", "/"))) !== agent.public_key) {
      throw new Error(`This key is not the one of ${agent.name}.`);
    }
    const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", key, bytesOfText(text)));
    if (!(await isSigned(agent, text, hexOf(signature)))) {
      throw new Error("This browser made a signature that does not hold.");
    }
    return hexOf(signature);
  } finally {
    secret.fill(0);
  }
}

function forgetKey() {
  byId("key").value = "";
  byId("key-file").value = "";
}

async function keyText() {
  const [file] = byId("key-file").files;
  if (byId("key").value.trim() !== "") {
    return byId("key").value;
  }
  if (!file) {
    throw new Error("Choose the file of your key, or paste the key.");
  }
  if (file.size > 65536) {
    throw new Error("This file is too large to be a key.");
  }
  return file.text();
}

async function sign() {
  try {
    const agent = BALLOT.agents.find((each) => each.agent_id === byId("agent").value);
    const decision = document.querySelector("input[name=decision]:checked")?.value;
    if (!decision) {
      throw new Error("Choose: approve or reject.");
    }
    if (Date.now() >= Date.parse(BALLOT.expires)) {
      throw new Error("By the clock of this device the proposal has expired.");
    }
    const signedAt = new Date().toISOString().replace("Z", "000Z");
    const text = voteText(decision, agent.agent_id, signedAt);
    const signature = await signed(agent, await keyText(), text);
    const vote = {
      proposal_id: BALLOT.proposal_id,
      agent_id: agent.agent_id,
      decision,
      signed_at: signedAt,
      signed_text: text,
      signature,
    };
    byId("vote-text").textContent = text;
    byId("vote").value = JSON.stringify(vote, null, 2) + "\n";
    byId("file-name").textContent = `vote-${BALLOT.proposal_id.slice(0, 8)}-${agent.agent_id.slice(0, 8)}.json`;
    byId("signed").hidden = false;
    show("good", `Signed: ${agent.name} says ${decision}. The vote counts once it is submitted.`);
  } catch (problem) {
    byId("signed").hidden = true;
    show("bad", problem.message);
  } finally {
    forgetKey();
  }
}

async function copy() {
  const vote = byId("vote");
  vote.select();
  try {
    await navigator.clipboard.writeText(vote.value);
    show("good", "Copied.");
  } catch {
    show("warn", "This browser does not copy for a page. The text is selected: copy it.");
  }
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([byId("vote").value], { type: "application/json" }));
  link.download = byId("file-name").textContent;
  link.click();
  URL.revokeObjectURL(link.href);
}

function timeLeft() {
  const minutes = Math.floor((Date.parse(BALLOT.expires) - Date.now()) / 60000);
  if (minutes < 0) {
    return "By the clock of this device it has expired.";
  }
  const hours = Math.floor(minutes / 60);
  const left = hours >= 48 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${hours} h ${minutes % 60} min`;
  return `By the clock of this device, in ${left}.`;
}

byId("left").textContent = timeLeft();
byId("sign").addEventListener("click", sign);
byId("copy").addEventListener("click", copy);
byId("download").addEventListener("click", download);
addEventListener("pagehide", forgetKey);
verifyPage(verifyBallot).then((holds) => {
  byId("sign").disabled = !holds;
});
