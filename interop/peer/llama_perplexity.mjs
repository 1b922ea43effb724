// The loss of each token of a text under llama.cpp, answered as JSON on standard output.
//
//   node llama_perplexity.mjs TEXT WINDOWS MODEL.gguf...
//
// The text's tokens are cut into at most WINDOWS pieces of 512, each with a context
// of its own. For each model: the pieces' token ids, and the cross-entropy of all
// tokens but the first of each piece. Keys and values are kept in float32, so that
// products with rounded weights are the only place where bits are lost.
import {readFileSync} from "node:fs";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

// The package lives in .interop/node, not beside this file.
const require = createRequire(process.env.LENTIL_NODE_PEERS + "/package.json");
const {getLlama} = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);

const contextSize = 512;

// The loss of predicting target from all logits.
function loss(logits, target) {
    let top = -Infinity, sum = 0;
    for (const l of logits.values())
        top = Math.max(top, l);
    for (const l of logits.values())
        sum += Math.exp(l - top);
    return top + Math.log(sum) - logits.get(target);
}

async function losses(sequence, ids) {
    await sequence.clearHistory();
    const ask = {generateNext: {logits: true, options: {temperature: 0}}};
    const out = await sequence.controlledEvaluate(ids.slice(0, -1).map((id) => [id, ask]));
    return out.map((o, i) => loss(o.next.logits, ids[i + 1]));
}

const [path, windows, ...models] = process.argv.slice(2);
const text = readFileSync(path, "utf8");
const llama = await getLlama({gpu: false, build: "never", logLevel: "error"});
const answers = [];
for (const modelPath of models) {
    const model = await llama.loadModel({modelPath});
    const context = await model.createContext({
        contextSize, batchSize: contextSize, threads: 1, flashAttention: false,
        experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32"
    });
    const sequence = context.getSequence();
    const ids = [...model.tokenize(text, true)];
    const answer = {windows: [], losses: []};
    for (let at = 0; at + 1 < ids.length && answer.windows.length < Number(windows); at += contextSize) {
        const piece = ids.slice(at, at + contextSize);
        answer.windows.push(piece);
        answer.losses.push(...await losses(sequence, piece));
    }
    answers.push(answer);
    await context.dispose();
    await model.dispose();
}
process.stdout.write(JSON.stringify(answers), () => process.exit(0));
