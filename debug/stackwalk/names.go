package stackwalk

import "salvage/debug/symcache"

// NamesOf returns what a symcache has at an address, copied: the form that Provider.Names returns.
func NamesOf(c *symcache.Cache, addr uint64) []Name {
	var buf [32]symcache.Frame
	frames, start := c.LookupRange(addr, buf[:0])
	if len(frames) == 0 {
		return nil
	}
	names := make([]Name, len(frames))
	for i, f := range frames {
		fn := c.Function(f)
		names[i] = Name{Function: string(c.Name(f)), File: string(c.File(f)), Line: f.Line, Start: fn.Addr, Params: fn.Params}
	}
	names[0].LineStart = start
	return names
}
