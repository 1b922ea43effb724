package making

import (
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
)

// noPlace is why a row of another dataset does not come along.
const noPlace = "mixed rows that the format has no place for"

// mix adds rows of other datasets to those of training until they have their share of its tokens. Conversations, pairs of
// answers and texts are taken in whatever layout: a pair gives its better answer, where no pairs are made; texts go to the
// rows of text.
func (m *maker) mix(made *Made) error {
	rows, texts, shares := 0, 0, 0.0
	for _, r := range made.Rows {
		if r.Split == "train" {
			rows += r.tokens
		}
	}
	if len(m.opt.Mix) == 0 {
		return nil
	}
	for _, text := range made.Texts["train"] {
		n, err := m.tokens(text)
		if err != nil {
			return err
		}
		texts += n
	}
	for _, x := range m.opt.Mix {
		shares += x.Share
	}
	for k, x := range m.opt.Mix {
		split, err := openMix(x)
		if err != nil {
			return err
		}
		own := rows
		if split.Format == dataset.Text || m.opt.Format == Texts {
			own = texts
		}
		want, got := int(x.Share/(1-shares)*float64(own)), 0
		refused, last := 0, error(nil)
		for _, i := range m.dice(100 + uint64(k)).Perm(split.Len()) {
			if got >= want {
				break
			}
			row, err := split.Row(i)
			if err != nil {
				return fault.At("mix", "%w", err)
			}
			if row, err = m.fitted(row); err != nil {
				refused, last = refused+1, err
				continue
			}
			n, err := m.tokens(textOf(row))
			if err != nil {
				return err
			}
			got += n
			if row.Format == dataset.Text {
				made.Texts["train"] = append(made.Texts["train"], row.Text)
				continue
			}
			made.Rows = append(made.Rows, Row{Kind: Mixed, By: split.Where(i), Model: "", Split: "train", mixed: &row, tokens: n})
		}
		switch m.dropped[noPlace] += refused; {
		case got == 0 && last != nil:
			return fault.Given("mix", x.Path, "none of its rows fits: %w", last).Try("Take another format, such as messages, or other rows.")
		case got < want:
			m.warn(fault.Say("%s has %d tokens, too few for a share of %g: it would take %d", x.Path, got, x.Share, want))
		}
		if split.Format == dataset.Text || m.opt.Format == Texts { // not at the end of the texts, which are read in their order
			m.dice(200+uint64(k)).Shuffle(len(made.Texts["train"]), func(i, j int) {
				made.Texts["train"][i], made.Texts["train"][j] = made.Texts["train"][j], made.Texts["train"][i]
			})
		}
	}
	return nil
}

// openMix opens a dataset of rows, or of pairs.
func openMix(x Mix) (*dataset.Split, error) {
	splits, err := dataset.Load(x.Path, x.Data)
	if err != nil {
		pairs := x.Data
		pairs.Preference = true
		if of, failed := dataset.Load(x.Path, pairs); failed == nil {
			splits, err = of, nil
		}
	}
	if err != nil {
		return nil, fault.At("mix", "%w", err)
	}
	if err := splits.CheckTrain(); err != nil {
		return nil, fault.Given("mix", x.Path, "%w", err)
	}
	return splits.Train, nil
}

// fitted is a row of another dataset as the format takes it.
func (m *maker) fitted(row dataset.Row) (dataset.Row, error) {
	if row.Format == dataset.Preference && m.opt.Format != Pairs {
		if len(row.Messages) == 0 {
			row = dataset.Row{Format: dataset.Text, Text: row.Text + row.ChosenText}
		} else {
			row = dataset.Row{Format: dataset.Chat, Messages: slices.Concat(row.Messages, row.Chosen), Tools: row.Tools}
		}
	}
	if m.opt.Format == Texts && row.Format != dataset.Text {
		return row, fault.Of("a row of the format %s is no text", row.Format)
	}
	if row.Format == dataset.Text && m.opt.Format != Pairs {
		return row, nil
	}
	_, err := dataset.FormatRow(row, written[m.opt.Format])
	return row, err
}

// textOf is what a row says.
func textOf(row dataset.Row) string {
	var b strings.Builder
	b.WriteString(row.Text + row.ChosenText + row.RejectedText)
	for _, v := range slices.Concat(row.Messages, row.Chosen, row.Rejected) {
		b.WriteString(contentOf(v) + "\n")
	}
	return b.String()
}
