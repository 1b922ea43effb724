package book

import (
	"os"
	"testing"

	"github.com/lentil-lm/lentil/book/pdf"
)

func TestMain(m *testing.M) {
	pdf.Serve()
	os.Exit(m.Run())
}
