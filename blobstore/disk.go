package blobstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// indexFile is the index, beside the folder of blocks.
const indexFile = "index.db"

// The files of a block's folder.
const (
	infoFile    = "info"
	proofFile   = "proof"
	layersFile  = "layers"
	contentFile = "content"
	parityFile  = "parity"
)

// maxInfoLength bounds what is read of an info file. A name has at most 200
// bytes and appears three times; the rest of the dictionary is under 400.
const maxInfoLength = 2048

// freshPrefix marks a small file that is being replaced; one found at Open was
// left by a crash and is removed.
const freshPrefix = ".new-"

// writeFile creates path with data and fsyncs it. The folder is the caller's
// to sync.
func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// replaceFile puts data at dir/name, whole or not at all, even across a crash.
func replaceFile(dir, name string, data []byte) error {
	fresh := filepath.Join(dir, freshPrefix+name)
	if err := writeFile(fresh, data); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	if err := os.Rename(fresh, filepath.Join(dir, name)); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return syncDir(dir)
}

// createSparse creates path with length zero bytes that take no space. It
// refuses to touch a file that exists.
func createSparse(path string, length int64) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	err = f.Truncate(length)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be flushed there; NTFS journals names itself
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// makeDirs creates dir with its parents and makes each new name durable.
func makeDirs(dir string) error {
	var fresh []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		fresh = append(fresh, d)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, d := range fresh {
		if err := syncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

// diskUsage is what path and everything below it takes on disk. What without,
// which may be nil, says of is left out, folders but for path with all below,
// and so is what we may not or cannot look at: lost+found is root's.
func diskUsage(path string, without func(string, fs.DirEntry) bool) (int64, error) {
	var total int64
	err := filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
		if err == nil && without != nil && without(at, d) {
			if d.IsDir() && at != path {
				return fs.SkipDir
			}
			return nil
		}
		if err == nil {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				total += allocated(info)
			}
		}
		if at == path && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil // or it was deleted while we walked
	})
	return total, err
}
