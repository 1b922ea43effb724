package pii

import "testing"

func TestMask(t *testing.T) {
	tests := map[string]string{
		"Write to anna.b@example.org, please.":        "Write to [e-mail], please.",
		"Call +49 30 1234567 or (310) 555-0199.":      "Call [phone] or [phone].",
		"Card 4111 1111 1111 1111, not 4111111111112": "Card [card], not 4111111111112",
		"IBAN DE89 3704 0044 0532 0130 00 is known.":  "IBAN [account] is known.",
		"IBAN DE89 3704 0044 0532 0130 05 is wrong.":  "IBAN DE89 3704 0044 0532 0130 05 is wrong.",
		"SSN 123-45-6789":                             "SSN [social security number]",
		"From 192.168.1.20 (version 1.2.3.4)":         "From [IP address] (version 1.2.3.4)",
		"1800-2000 C. a day, 2 x 3-1/2 oz., 1918":     "1800-2000 C. a day, 2 x 3-1/2 oz., 1918",
		"ISBN 978-3-16-148410-0, 5 000 000 people":    "ISBN 978-3-16-148410-0, 5 000 000 people",
		"": "",
	}
	for text, want := range tests {
		if got, _ := Mask(text); got != want {
			t.Errorf("%q: %q, expected %q", text, got, want)
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add("anna@example.org +49 30 1234567 DE89 3704 0044 0532 0130 00")
	f.Fuzz(func(t *testing.T, text string) {
		end := 0
		for _, found := range In(text) {
			if found.From < end || found.To <= found.From || found.To > len(text) {
				t.Fatalf("%q: %+v", text, found)
			}
			end = found.To
		}
		Mask(text)
	})
}
