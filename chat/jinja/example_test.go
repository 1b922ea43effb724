package jinja_test

import (
	"fmt"
	"time"

	"github.com/lentil-lm/lentil/chat/jinja"
)

func ExampleTemplate_Render() {
	template, err := jinja.Parse(`{% for m in messages %}
<|{{ m.role }}|>{{ m.content | trim }}
{% endfor %}
{% if add_generation_prompt %}<|assistant|>{% endif %}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	variables := jinja.NewDict()
	message := jinja.NewDict()
	message.Set("role", "user")
	message.Set("content", " Which pulse has the most protein? ")
	variables.Set("messages", jinja.NewList(message))
	variables.Set("add_generation_prompt", true)
	text, _, err := template.Render(variables, time.Time{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(text)
	// Output:
	// <|user|>Which pulse has the most protein?
	// <|assistant|>
}
