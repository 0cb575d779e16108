package config_test

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"time"

	"salvage/config"
	"salvage/config/yamlfile"
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

// Every problem is reported at once, and what to do about it.
func ExampleLoad_problems() {
	file, err := yamlfile.Parse("file salvage.yaml", []byte("listen: 8080\nlimits:\n  timout: 5s\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = config.Load(new(server), config.LoadOptions{Sources: []config.Source{file}})
	fmt.Println(err)
	// Output:
	// configuration: 2 problems
	//
	// listen: "8080" is not host:port
	//   set in:   file salvage.yaml, line 1
	//   expects:  address: host:port
	//   default:  127.0.0.1:8080
	//   about:    Address to listen on.
	//   fix:      set listen to 127.0.0.1:8080
	//
	// limits.timout: is no option
	//   set in:   file salvage.yaml, line 3
	//   fix:      did you mean limits.timeout?
}

// The standard library's flags are a source.
func ExampleFlagSet() {
	var s server
	set := flag.NewFlagSet("server", flag.ContinueOnError)
	flags := config.FlagSet(set, &s)
	if err := set.Parse([]string{"-limits-timeout=2m"}); err != nil {
		return
	}
	_, err := config.Load(&s, config.LoadOptions{Sources: []config.Source{flags, config.Environ("SALVAGE_")}})
	fmt.Println(s.Timeout, err)
	// Output: 2m0s <nil>
}

// The parser of an own type says what is wrong with a text, not what the text is.
func ExampleParser() {
	network := config.Parser[netip.Prefix]{Name: "network", Syntax: "address/bits", Parse: func(text string) (netip.Prefix, error) {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return p, errors.New("is not a network")
		}
		return p, nil
	}}
	var proxies []netip.Prefix
	root := component(func(s *config.Spec) {
		config.Var(s, &proxies, "proxies", config.List(network), config.Default(""), config.Example("10.0.0.0/8"))
	})
	_, err := config.Load(root, config.LoadOptions{Sources: []config.Source{config.Map("map", map[string]string{"proxies": "10.0.0.0/8, localhost"})}})
	fmt.Println(err)
	// Output:
	// configuration: 1 problem
	//
	// proxies: "10.0.0.0/8, localhost" has an item (number 2) that is not a network
	//   set in:   map
	//   expects:  list of network: separated by commas; address/bits (example: 10.0.0.0/8)
	//   fix:      set proxies to 10.0.0.0/8
}

// store is a component of which a configuration chooses an implementation.
type store interface {
	config.Component
	String() string
}

type folderStore struct{ path string }

func (f *folderStore) String() string { return "folder " + f.path }
func (f *folderStore) Options(s *config.Spec) {
	config.Var(s, &f.path, "path", config.String, config.Default("./data"), config.Doc("Folder."))
}

type bucketStore struct{ name string }

func (b *bucketStore) String() string { return "bucket " + b.name }
func (b *bucketStore) Options(s *config.Spec) {
	config.Var(s, &b.name, "name", config.String, config.Doc("Name of the bucket."))
}

// A configuration names the component; only that one's options are needed.
func ExampleChoose() {
	var chosen store
	root := component(func(s *config.Spec) {
		s.Group("storage", component(func(s *config.Spec) {
			config.Choose(s, &chosen, "kind", map[string]store{"folder": &folderStore{}, "bucket": &bucketStore{}}, config.Default("folder"))
		}))
	})
	load := func(m map[string]string) error {
		_, err := config.Load(root, config.LoadOptions{Sources: []config.Source{config.Map("map", m)}})
		return err
	}
	fmt.Println(load(nil), chosen)
	fmt.Println(load(map[string]string{"storage.kind": "bucket", "storage.bucket.name": "crashes"}), chosen)
	fmt.Println(load(map[string]string{"storage.kind": "bucket"}))
	// Output:
	// <nil> folder ./data
	// <nil> bucket crashes
	// configuration: 1 problem
	//
	// storage.bucket.name: required, not set
	//   looked in: map
	//   expects:  string
	//   about:    Name of the bucket.
	//   because:  storage.kind is bucket (map)
	//   fix:      set storage.bucket.name
}

// A name that was changed goes on working, with a warning.
func ExampleDeprecated() {
	var port int
	r, err := config.Load(component(func(s *config.Spec) {
		config.Var(s, &port, "port", config.Int, config.Deprecated("listen_port"))
	}), config.LoadOptions{Sources: []config.Source{config.Map("file x", map[string]string{"listen_port": "80"})}})
	fmt.Println(port, err, r.Warnings)
	// Output: 80 <nil> [listen_port (file x) is deprecated; use port]
}

// A sample of a .env file, which changes nothing as it is.
func ExampleWriteEnv() {
	config.WriteEnv(os.Stdout, new(server), "SALVAGE_")
	// Output:
	// # Address to listen on.
	// # address: host:port
	// #SALVAGE_LISTEN=127.0.0.1:8080
	//
	// # Longest request.
	// # duration: numbers with a unit of w d h m s ms us ns; a plain number is seconds
	// #SALVAGE_LIMITS_TIMEOUT=30s
}
