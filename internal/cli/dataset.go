package cli

import (
	"github.com/spf13/cobra"
)

// newDataset is the group of commands that make and check datasets.
func newDataset(streams Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dataset",
		Short: "Make and check datasets: from books to rows",
		Long: `From books to a dataset: read a book, make rows and questions of books, check rows, go through them,
and make rows of votes on the chat page.`,
		Example: `  lentil dataset read book.epub
  lentil dataset make ./books --out ./data
  lentil dataset check ./data --model ./model
  lentil dataset review ./data
  lentil dataset feedback feedback.jsonl --out ./liked`,
		GroupID: groupTrain,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	cmd.AddCommand(newDatasetRead(streams), newDatasetMake(streams), newDatasetCheck(streams), newDatasetReview(streams), newDatasetFeedback(streams))
	return cmd
}
