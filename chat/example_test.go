package chat_test

import (
	"fmt"

	"github.com/lentil-lm/lentil/chat"
)

func ExampleTemplate_Render() {
	template, err := chat.ParseTemplate(`{% for m in messages %}
<|{{ m.role }}|>{{ m.content | trim }}
{% endfor %}
{% if add_generation_prompt %}<|assistant|>{% endif %}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	variables := chat.NewDict()
	variables.Set("messages", chat.NewList(chat.NewMessage("user", " Which pulse has the most protein? ")))
	variables.Set("add_generation_prompt", true)
	text, err := template.Render(variables, chat.RenderOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(text)
	// Output:
	// <|user|>Which pulse has the most protein?
	// <|assistant|>
}
