package hub

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/fault"
)

// maxName is the longest file name, folders included, that is taken from a server, in bytes.
const maxName = 1024

// reserved are the names that stand for devices on Windows, with any extension.
var reserved = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\.|$)`)

// checkName refuses a file name of a repository that could end up outside the folder it is put into, on any
// system, or that cannot be a file name at all.
func checkName(name string) error {
	bad := func(why string) error {
		return fault.Advise(fmt.Errorf("the repository has a file named %.200q, which %s: refused", name, why),
			"Ask its owner to rename the file, or leave it out with %v.", fault.Setting("exclude"))
	}
	switch {
	case name == "":
		return bad("is empty")
	case len(name) > maxName:
		return bad("is too long")
	case !utf8.ValidString(name):
		return bad("is not UTF-8")
	case strings.HasPrefix(name, "/"):
		return bad("is an absolute path")
	case strings.ContainsAny(name, `\:`):
		return bad(`has a backslash or a colon in it`)
	case strings.ContainsFunc(name, unicode.IsControl):
		return bad("has a control character in it")
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
			return bad("has an empty part")
		case part == "..":
			return bad("climbs out of its folder")
		case len(part) > 255:
			return bad("is too long")
		case reserved.MatchString(part):
			return bad("is reserved on Windows")
		case strings.HasSuffix(part, ".") || strings.HasSuffix(part, " "):
			return bad("ends in a dot or a space")
		}
	}
	return nil
}

// etagPattern is what may become a file name in blobs: git and sha256 hashes, and other plain words.
var etagPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._=+-]{0,127}$`)

// checkETag refuses the etag of a server that cannot be the name of a blob.
func checkETag(etag string) error {
	if !etagPattern.MatchString(etag) || strings.HasSuffix(etag, ".incomplete") {
		return fmt.Errorf("the server gave the etag %.200q, which cannot be a file name: refused", etag)
	}
	return nil
}

// checkRevision refuses names of branches and tags that git refuses, or that cannot be a path in refs.
func checkRevision(revision string) error {
	if err := checkName(revision); err != nil || strings.ContainsAny(revision, " ~^?*[") {
		return fmt.Errorf("%.200q is not the name of a branch, a tag or a commit", revision)
	}
	return nil
}

// realFolder makes the folder rel below root, refusing to go through symbolic links on the way: a link that
// was put there could lead anywhere.
func realFolder(root, rel string) (string, error) {
	if err := os.MkdirAll(root, 0o777); err != nil {
		return "", err
	}
	path := root
	for part := range strings.SplitSeq(filepath.ToSlash(rel), "/") {
		if part == "" || part == "." {
			continue
		}
		path = filepath.Join(path, part)
		failure := os.Mkdir(path, 0o777)
		if failure == nil {
			continue
		}
		info, err := os.Lstat(path)
		if err != nil {
			return "", failure
		}
		if info.Mode()&os.ModeSymlink != 0 {
			return "", fault.Of("%s is a symbolic link where a folder should be: refused", path).Try("Remove it and try again.")
		}
		if !info.IsDir() {
			return "", fault.Of("%s is a file where a folder should be", path).Try("Remove it and try again.")
		}
	}
	return path, nil
}
