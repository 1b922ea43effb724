package weights

import (
	"maps"
	"slices"
)

// ggufEndPieces are texts of tokens that end an answer in llama.cpp, whatever a file says
// about them. Some are padding and separators of code completion, of which llama.cpp takes one each.
var ggufEndPieces = []string{
	"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>", "<|endoftext|>",
	"</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>",
	"<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
	"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]",
	"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>",
}

// GGUFEnds picks the tokens of a vocabulary that end an answer in llama.cpp by their
// texts, in the order of ids. Some families use "<|end|>" or "</s>" for something else.
func GGUFEnds(pieces []string) []int {
	ids := map[string]int{}
	for id, piece := range pieces {
		if _, twice := ids[piece]; !twice && slices.Contains(ggufEndPieces, piece) {
			ids[piece] = id
		}
	}
	has := func(piece string) bool { _, ok := ids[piece]; return ok }
	if (has("<|return|>") || has("<|flush|>")) && (has("<|call|>") || has("<|calls|>")) {
		delete(ids, "<|end|>")
	}
	if has("<|tool_response>") {
		delete(ids, "</s>")
	}
	return slices.Sorted(maps.Values(ids))
}
