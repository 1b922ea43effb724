package cli

import (
	"github.com/spf13/cobra"
)

// newDataset is the group of commands that make and check datasets.
func newDataset(streams Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dataset",
		Short:   "Read books that a dataset is to be made of",
		Long:    `From books to a dataset. So far books are read: see lentil dataset read --help.`,
		Example: `  lentil dataset read book.epub`,
		GroupID: groupTrain,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	cmd.AddCommand(newDatasetRead(streams))
	return cmd
}
