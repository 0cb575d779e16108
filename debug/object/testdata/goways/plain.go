//go:build !go1.18

package main

func clamp(v int) int {
	if v > 100 {
		return 100
	}
	return v
}
