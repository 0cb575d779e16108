// Command config gives one wrong configuration to package config, to caarlos0/env and to koanf, and prints
// what each says. Its benchmark loads 100 options with each.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	caarlos0 "github.com/caarlos0/env/v11"
	koanfenv "github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"

	"salvage/config"
)

// settings are options as each library declares them.
type settings struct {
	Host   string        `env:"HOST,required" koanf:"host"`
	Port   int           `env:"PORT" envDefault:"8000" koanf:"port"`
	Debug  bool          `env:"DEBUG" koanf:"debug"`
	Wait   time.Duration `env:"WAIT" envDefault:"30s" koanf:"wait"`
	DBPort int           `env:"DB_PORT" envDefault:"5432" koanf:"db_port"`
	Pin    int           `env:"PIN" koanf:"pin"`
}

func (s *settings) Options(spec *config.Spec) {
	config.Var(spec, &s.Host, "host", config.String, config.Example("example.org"), config.Doc("Name of this host in links."))
	config.Var(spec, &s.Port, "port", config.Int, config.Default("8000"), config.Doc("Port to listen on."))
	config.Var(spec, &s.Debug, "debug", config.Bool, config.Default("no"), config.Doc("Log everything."))
	config.Var(spec, &s.Wait, "wait", config.Duration, config.Default("30s"), config.Doc("Longest time a request may take."))
	config.Var(spec, &s.DBPort, "db_port", config.Int, config.Default("5432"), config.Doc("Port of the database."))
	config.Var(spec, &s.Pin, "pin", config.Int, config.Secret(), config.Default("0"), config.Doc("Number that unlocks the cupboard."))
}

const prefix = "DEMO_"

func loadSalvage(root config.Component) (*config.Report, error) {
	return config.Load(root, config.LoadOptions{Sources: []config.Source{config.Environ(prefix)}})
}

func loadEnv(to any) error { return caarlos0.ParseWithOptions(to, caarlos0.Options{Prefix: prefix}) }

// loadKoanf takes separator for the end of a group's name; none: there are no groups.
func loadKoanf(to any, separator string) error {
	k := koanf.New(".")
	err := k.Load(koanfenv.Provider(".", koanfenv.Opt{Prefix: prefix, TransformFunc: func(name, value string) (string, any) {
		return strings.Replace(strings.ToLower(strings.TrimPrefix(name, prefix)), separator, ".", 1), value
	}}), nil)
	return errors.Join(err, k.Unmarshal("", to))
}

func main() {
	wrong := []string{"DEBUG=monkey", "WAIT=10 bananas", "DB_PORT=x", "PROT=9000", "HOTS=example.org", "PIN=hunter2"}
	fmt.Println("# The environment; HOST is required")
	for _, setting := range wrong {
		name, value, _ := strings.Cut(setting, "=")
		os.Setenv(prefix+name, value)
		fmt.Println(prefix + setting)
	}
	var a, b, c settings
	r, err := loadSalvage(&a)
	fmt.Printf("\n# salvage/config\n%v\n", err)
	for _, w := range r.Warnings {
		fmt.Println(w)
	}
	fmt.Printf("\n# caarlos0/env\n%v\n", loadEnv(&b))
	fmt.Printf("\n# koanf, Unmarshal\n%v\n", loadKoanf(&c, "__"))
	k := koanf.New(".")
	_ = k.Load(koanfenv.Provider(".", koanfenv.Opt{Prefix: prefix}), nil)
	fmt.Printf("\n# koanf, getters\nBool(DEBUG) = %v, Duration(WAIT) = %v, Int(DB_PORT) = %v, no error\n", k.Bool(prefix+"DEBUG"), k.Duration(prefix+"WAIT"), k.Int(prefix+"DB_PORT"))
}
