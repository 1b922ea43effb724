package atomicfile

import (
	"io/fs"
	"os"
)

const (
	// renamesOpen tells that an open file, which keeps its lock, can be renamed and removed.
	renamesOpen = false
	// syncsFolders tells that the list of a folder's files can be brought to the disk.
	syncsFolders = false
)

// inherited opens a name that stands for an open file of this process. There are none here.
func inherited(string) (*os.File, error) { return nil, nil }

// keepOwner gives a file the owner of the one that it will replace: new files inherit theirs from the folder.
func keepOwner(*os.File, fs.FileInfo) {}
