//go:build go1.18

package main

func clamp[T int | int8](v T) T {
	if v > 100 {
		return 100
	}
	return v
}
