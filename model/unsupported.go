package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// foreign are settings of other families that change what a model computes, and the values
// besides null, false and 0 that leave it as it is. Transformers and mlx-lm pass over them in
// the families here: a config with one is not what it says it is.
var foreign = map[string][]string{
	"attn_logit_softcapping": nil, "final_logit_softcapping": nil, "query_pre_attn_scalar": nil, "clip_qkv": nil,
	"embedding_multiplier": {"1", "1.0"}, "attention_multiplier": {"1", "1.0"}, "residual_multiplier": {"1", "1.0"},
	"logits_scaling": {"1", "1.0"}, "logit_scale": {"1", "1.0"}, "scale_emb": {"1", "1.0"},
	"qk_layernorm": nil, "use_qk_norm": nil, "alibi": nil, "use_alibi": nil, "parallel_attn": nil, "attention_chunk_size": nil,
	"use_bidirectional_attention": nil,
}

// neutral are the values that switch a setting off.
var neutral = []string{"null", "false", "0", "0.0"}

// checkOthers refuses settings that no family here has.
func (c *Config) checkOthers(path string) error {
	for _, key := range slices.Sorted(maps.Keys(foreign)) {
		v := string(bytes.TrimSpace(c.given[key]))
		if v != "" && !slices.Contains(neutral, v) && !slices.Contains(foreign[key], v) {
			return fmt.Errorf("%s: %s is %.50s, but %s has no such setting; is model_type right?", path, key, v, c.ModelType)
		}
	}
	if v := c.given["is_causal"]; string(v) == "false" {
		return fmt.Errorf("%s: is_causal is false, but these families see earlier tokens only", path)
	}
	for _, key := range []string{"rope_parameters", "rope_scaling"} {
		var settings map[string]json.RawMessage
		if json.Unmarshal(c.given[key], &settings) != nil {
			continue // null, or told by ParseConfig
		}
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			if v := bytes.TrimSpace(settings[name]); len(v) > 0 && v[0] == '{' {
				return fmt.Errorf("%s: %s has settings for %q alone; rotary embedding that differs between layers is not supported", path, key, name)
			}
		}
	}
	return nil
}
