package fsblob

// Encode and Decode are the names of files and folders.
var (
	Encode = encode
	Decode = decode
)

// Hook has f called before each step on the disk: create, write, sync, rename, mkdir, syncfolder,
// remove, list. An error of f stands for the step.
func Hook(s *Store, f func(step, name string) error) { s.e.hook = f }

// SetBatch sets how many names of a folder List holds.
func SetBatch(s *Store, n int) { s.e.batch = n }
