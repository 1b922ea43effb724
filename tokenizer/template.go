package tokenizer

import (
	"encoding/json"
	"fmt"
)

// postProcessorDef is a post-processor as tokenizer.json writes it.
type postProcessorDef struct {
	Type          string             `json:"type"`
	Processors    []postProcessorDef `json:"processors"` // Sequence
	Single        []templatePartDef  `json:"single"`     // TemplateProcessing
	SpecialTokens map[string]struct {
		IDs []int32 `json:"ids"`
	} `json:"special_tokens"` // TemplateProcessing
}

type templatePartDef struct {
	SpecialToken *struct {
		ID string `json:"id"`
	} `json:"SpecialToken"`
	Sequence *struct {
		ID string `json:"id"`
	} `json:"Sequence"`
}

// maxTemplateItems bounds what nested templates may grow to.
const maxTemplateItems = 1024

// newTemplate builds the template that raw describes. Without a post-processor it adds
// nothing: transformers 5 ignores add_bos_token and add_eos_token of tokenizer_config.json
// if there is a tokenizer.json.
func (t *Tokenizer) newTemplate(raw json.RawMessage) ([]templateItem, error) {
	var def postProcessorDef
	present, err := unmarshalPart(raw, &def)
	if err != nil {
		return nil, err
	}
	text := []templateItem{{}}
	if !present {
		return text, nil
	}
	if text, err = def.apply(text); err != nil {
		return nil, err
	}
	return text, t.checkTemplate(text)
}

func (t *Tokenizer) checkTemplate(items []templateItem) error {
	for _, item := range items {
		for _, id := range item.ids {
			if id < 0 || int(id) >= len(t.def.pieces) {
				return fmt.Errorf("token id %d is not in the vocabulary of %d", id, len(t.def.pieces))
			}
		}
	}
	return nil
}

// apply returns what the post-processor makes of the template so far.
func (d *postProcessorDef) apply(text []templateItem) ([]templateItem, error) {
	switch d.Type {
	case "Sequence":
		for i := range d.Processors {
			var err error
			if text, err = d.Processors[i].apply(text); err != nil {
				return nil, at(fmt.Sprintf("processors[%d]", i), err)
			}
		}
		return text, nil
	case "ByteLevel": // only corrects offsets
		return text, nil
	case "TemplateProcessing":
		return d.fill(text)
	}
	return nil, unsupported("post-processor", d.Type, "Sequence, ByteLevel, TemplateProcessing")
}

// fill puts text in place of the template's sequence A.
func (d *postProcessorDef) fill(text []templateItem) ([]templateItem, error) {
	var items []templateItem
	for i, part := range d.Single {
		where := fmt.Sprintf("single[%d]", i)
		switch {
		case part.SpecialToken != nil:
			token, ok := d.SpecialTokens[part.SpecialToken.ID]
			if !ok {
				return nil, at(where, fmt.Errorf("special token %q is not listed in special_tokens", part.SpecialToken.ID))
			}
			items = append(items, templateItem{ids: append([]int32{}, token.IDs...)})
		case part.Sequence != nil && part.Sequence.ID == "A":
			items = append(items, text...)
		default:
			return nil, at(where, fmt.Errorf(`want {"SpecialToken": ...} or {"Sequence": {"id": "A"}}`))
		}
		if len(items) > maxTemplateItems {
			return nil, at(where, fmt.Errorf("the template has more than %d parts", maxTemplateItems))
		}
	}
	return items, nil
}
