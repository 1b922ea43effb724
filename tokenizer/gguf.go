package tokenizer

// scoreMerges lists the merges of a SentencePiece vocabulary.
func (d *definition) scoreMerges() []pair { return nil }
