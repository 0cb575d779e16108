package metrics

// Behind returns a function that makes r hand over events to the outputs of now, as a goroutine does that was
// interrupted before it did; and one that ends this.
func Behind(r *Registry) (begin, end func()) {
	old := r.values.Load()
	var now *taps
	return func() { now = r.values.Swap(old) }, func() { r.values.Store(now) }
}
