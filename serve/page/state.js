// The chat that is shown: a tree of messages, and the way through it.

export const state = {
  chat: null,          // {id, title, folder, leaf, settings, messages}; null before the first message
  running: new Map(),  // answers under way, by id
};

let byID = new Map(), below = new Map(); // messages by id, and lists of them by their parent's

export function open(chat) {
  state.chat = chat;
  state.running.clear();
  byID = new Map();
  below = new Map();
  for (const m of chat?.messages ?? []) index(m);
}

function index(m) {
  byID.set(m.id, m);
  if (!below.has(m.parent)) below.set(m.parent, []);
  below.get(m.parent).push(m);
}

// add adds a message, in place of one with its id.
export function add(m) {
  const old = byID.get(m.id);
  if (!old) { state.chat.messages.push(m); index(m); return; }
  state.chat.messages[state.chat.messages.indexOf(old)] = m;
  byID.set(m.id, m);
  const list = below.get(old.parent);
  list[list.indexOf(old)] = m;
}

export const message = id => byID.get(id);
export const kids = id => below.get(id) ?? [];

// way is the messages from the first to the leaf.
export function way() {
  const out = [];
  for (let m = message(state.chat?.leaf); m && out.length <= byID.size; m = message(m.parent)) out.push(m);
  return out.reverse();
}

// leafOf goes down from a message, always to the newest.
export function leafOf(id) {
  for (let next, n = 0; (next = kids(id).at(-1)) && n <= byID.size; n++) id = next.id;
  return id;
}

// branches are the messages that stand in the place of one.
export const branches = m => kids(m.parent).filter(x => x.role === m.role);
