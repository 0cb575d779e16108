package signature

// Function is how a function's name is normalised.
func (l *Lists) Function(name string, rust bool, line int) string {
	return l.function(name, rust, line)
}
