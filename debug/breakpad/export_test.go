package breakpad

// ParseParts is Parse with parts of a given size, on a given number of goroutines.
func ParseParts(data []byte, h Handler, o Options, size, workers int) (*File, error) {
	return newReader(h, o).run(data, size, workers)
}
