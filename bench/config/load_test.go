package main

import (
	"fmt"
	"testing"
	"time"

	"salvage/config"
)

// group has ten options of the usual types, half of which the environment sets.
type group struct {
	Name    string        `env:"NAME" koanf:"name"`
	Port    int           `env:"PORT" koanf:"port"`
	Wait    time.Duration `env:"WAIT" koanf:"wait"`
	Debug   bool          `env:"DEBUG" koanf:"debug"`
	Rate    float64       `env:"RATE" koanf:"rate"`
	Path    string        `env:"PATH" envDefault:"/var/lib" koanf:"path"`
	Workers int           `env:"WORKERS" envDefault:"4" koanf:"workers"`
	Timeout time.Duration `env:"TIMEOUT" envDefault:"30s" koanf:"timeout"`
	Quiet   bool          `env:"QUIET" envDefault:"false" koanf:"quiet"`
	Share   float64       `env:"SHARE" envDefault:"0.5" koanf:"share"`
}

func (g *group) Options(s *config.Spec) {
	config.Var(s, &g.Name, "name", config.String)
	config.Var(s, &g.Port, "port", config.Int)
	config.Var(s, &g.Wait, "wait", config.Duration)
	config.Var(s, &g.Debug, "debug", config.Bool)
	config.Var(s, &g.Rate, "rate", config.Float)
	config.Var(s, &g.Path, "path", config.String, config.Default("/var/lib"))
	config.Var(s, &g.Workers, "workers", config.Int, config.Default("4"))
	config.Var(s, &g.Timeout, "timeout", config.Duration, config.Default("30s"))
	config.Var(s, &g.Quiet, "quiet", config.Bool, config.Default("false"))
	config.Var(s, &g.Share, "share", config.Float, config.Default("0.5"))
}

// hundred has no array, which koanf would not fill from the environment.
type hundred struct {
	G0 group `envPrefix:"G0_" koanf:"g0"`
	G1 group `envPrefix:"G1_" koanf:"g1"`
	G2 group `envPrefix:"G2_" koanf:"g2"`
	G3 group `envPrefix:"G3_" koanf:"g3"`
	G4 group `envPrefix:"G4_" koanf:"g4"`
	G5 group `envPrefix:"G5_" koanf:"g5"`
	G6 group `envPrefix:"G6_" koanf:"g6"`
	G7 group `envPrefix:"G7_" koanf:"g7"`
	G8 group `envPrefix:"G8_" koanf:"g8"`
	G9 group `envPrefix:"G9_" koanf:"g9"`
}

func (h *hundred) groups() []*group {
	return []*group{&h.G0, &h.G1, &h.G2, &h.G3, &h.G4, &h.G5, &h.G6, &h.G7, &h.G8, &h.G9}
}

func (h *hundred) Options(s *config.Spec) {
	for i, g := range h.groups() {
		s.Group(fmt.Sprintf("g%d", i), g)
	}
}

// koanfDefaults is how koanf has defaults: what is there before.
func koanfDefaults() *hundred {
	h := new(hundred)
	for _, g := range h.groups() {
		g.Path, g.Workers, g.Timeout, g.Share = "/var/lib", 4, 30*time.Second, 0.5
	}
	return h
}

func BenchmarkLoad100(b *testing.B) {
	want := koanfDefaults()
	for i, g := range want.groups() {
		g.Name, g.Port, g.Wait, g.Debug, g.Rate = "main", 80, 90*time.Second, true, 0.25
		for name, value := range map[string]string{"NAME": "main", "PORT": "80", "WAIT": "1m30s", "DEBUG": "true", "RATE": "0.25"} {
			b.Setenv(fmt.Sprintf("%sG%d_%s", prefix, i, name), value)
		}
	}
	for _, bench := range []struct {
		name string
		load func() (*hundred, error)
	}{
		{"salvage", func() (*hundred, error) { h := new(hundred); _, err := loadSalvage(h); return h, err }},
		{"caarlos0env", func() (*hundred, error) { h := new(hundred); return h, loadEnv(h) }},
		{"koanf", func() (*hundred, error) { h := koanfDefaults(); return h, loadKoanf(h, "_") }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got, err := bench.load(); err != nil || *got != *want {
					b.Fatalf("%+v, %v", got, err)
				}
			}
		})
	}
}
