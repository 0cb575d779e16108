package signature

// Function is how a function's name is normalised.
func (l *Lists) Function(name string, rust bool, line int) string {
	return l.function(name, rust, line)
}

// Own returns l as lists of Salvage's own.
func (l *Lists) Own() *Lists {
	clone := *l
	clone.own = true
	return &clone
}
