package config_test

import (
	"fmt"
	"os"
	"time"

	"salvage/config"
)

type server struct {
	Listen  string
	Timeout time.Duration
}

func (s *server) Options(spec *config.Spec) {
	config.Var(spec, &s.Listen, "listen", config.Addr, config.Default("127.0.0.1:8080"), config.Doc("Address to listen on."))
	spec.Group("limits", component(func(spec *config.Spec) {
		config.Var(spec, &s.Timeout, "timeout", config.Duration, config.Default("30s"), config.Doc("Longest request."))
	}))
}

func Example() {
	os.Setenv("SALVAGE_LIMITS_TIMEOUT", "1m30s")
	defer os.Unsetenv("SALVAGE_LIMITS_TIMEOUT")

	var s server
	report, err := config.Load(&s, config.LoadOptions{Sources: []config.Source{
		config.Flags(map[string]string{"listen": ":80"}), // from the command line's parser
		config.Environ("SALVAGE_"),
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Listen, s.Timeout)
	report.Runtime(os.Stdout)
	// Output:
	// :80 1m30s
	// SALVAGE_LISTEN=:80  # command line (--listen)
	// SALVAGE_LIMITS_TIMEOUT=1m30s  # process environment
}
