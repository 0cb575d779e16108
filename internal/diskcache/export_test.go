package diskcache

import "io"

// FileName returns the name of the file of a key.
var FileName = fileName

// Break makes further writes of a Fill fail.
func Break(w io.Writer) { w.(*writer).f.Close() }
