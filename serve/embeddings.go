package serve

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"

	"github.com/lentil-lm/lentil/generate"
)

// embedded gives the vectors of texts, and how many tokens these have.
func (s *Server) embedded(r *http.Request, model string, raw json.RawMessage, field string) (vectors [][]float32, tokens int, err error) {
	v, err := s.models.acquire(r.Context(), model)
	if err != nil {
		return nil, 0, err
	}
	defer s.models.release(v)
	texts, err := s.promptsOf(r.Context(), v, raw, field)
	if err != nil {
		return nil, 0, err
	}
	for _, ids := range texts {
		vector, err := s.embed(r, v, ids)
		if err != nil {
			return nil, 0, err
		}
		vectors, tokens = append(vectors, vector), tokens+len(ids)
	}
	return vectors, tokens, nil
}

// embed runs one text; one at a time, so that answers under way get their share of the device.
func (s *Server) embed(r *http.Request, v *variant, ids []int32) ([]float32, error) {
	select {
	case s.embedding <- struct{}{}:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	defer func() { <-s.embedding }()
	return generate.Embed(r.Context(), v.Model, ids)
}

// embeddings answers POST /v1/embeddings.
func (s *Server) embeddings(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Model      string          `json:"model"`
		Input      json.RawMessage `json:"input"`
		Format     string          `json:"encoding_format"`
		Dimensions *int            `json:"dimensions"`
	}
	err := readRequest(w, r, &request)
	if err == nil && request.Format != "" && request.Format != "float" && request.Format != "base64" {
		err = badField("encoding_format", "encoding_format: found %q, expected float or base64", request.Format)
	}
	var vectors [][]float32
	tokens := 0
	if err == nil {
		vectors, tokens, err = s.embedded(r, request.Model, request.Input, "input")
	}
	if n := request.Dimensions; err == nil && n != nil && *n != len(vectors[0]) {
		err = badField("dimensions", "dimensions: found %d, the model has %d", *n, len(vectors[0]))
	}
	if err != nil {
		openAIError(w, s.toAPI(err))
		return
	}
	data := []any{}
	for i, v := range vectors {
		var written any = v
		if request.Format == "base64" {
			var b []byte
			for _, x := range v {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
			}
			written = base64.StdEncoding.EncodeToString(b)
		}
		data = append(data, map[string]any{"object": "embedding", "index": i, "embedding": written})
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"object": "list", "data": data, "model": modelOr(request.Model), "usage": map[string]any{"prompt_tokens": tokens, "total_tokens": tokens},
	})
}

// tokenize answers POST /tokenize, as llama.cpp does.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Model      string `json:"model"`
		Content    string `json:"content"`
		AddSpecial bool   `json:"add_special"`
	}
	err := readRequest(w, r, &request)
	var v *variant
	if err == nil {
		v, err = s.models.acquire(r.Context(), request.Model)
	}
	if err != nil {
		openAIError(w, s.toAPI(err))
		return
	}
	defer s.models.release(v)
	ids, err := s.encode(r.Context(), request.Content, func(text string) ([]int32, error) { return v.Tokenizer.Encode(text, request.AddSpecial) })
	if err != nil {
		openAIError(w, s.toAPI(err))
		return
	}
	if ids == nil {
		ids = []int32{}
	}
	writeJSON(w, http.StatusOK, map[string]any{"tokens": ids})
}

// detokenize answers POST /detokenize.
func (s *Server) detokenize(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Model  string  `json:"model"`
		Tokens []int32 `json:"tokens"`
	}
	err := readRequest(w, r, &request)
	var v *variant
	if err == nil {
		v, err = s.models.acquire(r.Context(), request.Model)
	}
	if err != nil {
		openAIError(w, s.toAPI(err))
		return
	}
	defer s.models.release(v)
	if err := v.Model.CheckTokens(request.Tokens); err != nil {
		openAIError(w, badField("tokens", "tokens: %v", err))
		return
	}
	text, err := v.Tokenizer.Decode(request.Tokens, false)
	if err != nil {
		openAIError(w, s.toAPI(err))
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"content": text})
}
