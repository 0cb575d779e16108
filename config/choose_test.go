package config_test

import (
	"strings"
	"testing"

	"salvage/config"
	"salvage/config/configtest"
)

// storage is what a program chooses one of.
type storage interface {
	config.Component
	where() string
}

type folder struct{ Path string }

func (f *folder) where() string { return f.Path }
func (f *folder) Options(s *config.Spec) {
	config.Var(s, &f.Path, "path", config.String, config.Default("./data"), config.Doc("Folder."))
}

type bucket struct {
	Name, Key string
	Retry     storage // a choice in a choice
}

func (b *bucket) where() string { return b.Name }
func (b *bucket) Options(s *config.Spec) {
	config.Var(s, &b.Name, "name", config.String, config.Example("crashes"), config.Doc("Name of the bucket."))
	config.Var(s, &b.Key, "key", config.String, config.Secret())
	s.Group("retry", component(func(s *config.Spec) {
		config.Choose(s, &b.Retry, "kind", map[string]storage{"folder": &folder{}, "other": &bucketless{}}, config.Default("folder"))
	}))
}

type bucketless struct{ n int }

func (b *bucketless) where() string { return "" }
func (b *bucketless) Options(s *config.Spec) {
	config.Var(s, &b.n, "n", config.Int)
}

type chooser struct {
	Storage storage
	folder  folder
	bucket  bucket
}

func (c *chooser) Options(s *config.Spec) {
	s.Group("storage", component(func(s *config.Spec) {
		config.Choose(s, &c.Storage, "kind", map[string]storage{"folder": &c.folder, "bucket": &c.bucket}, config.Default("folder"), config.Doc("Where crashes go."))
	}))
}

func TestChoose(t *testing.T) {
	c := chooser{bucket: bucket{Name: "before"}}
	r := configtest.Load(t, &c, map[string]string{"storage.bucket.name": "x", "storage.folder.path": "/p"}) // what is not chosen may be set
	if c.Storage != storage(&c.folder) || c.folder.Path != "/p" || c.bucket.Name != "before" {
		t.Errorf("loaded %+v", c)
	}
	if got, want := runtime(t, r), "storage.kind=folder  # default\nstorage.folder.path=/p  # test\n"; got != want {
		t.Errorf("Runtime:\n%swant:\n%s", got, want)
	}
	r = configtest.Load(t, &c, map[string]string{"storage.kind": " bucket ", "storage.bucket.name": "x", "storage.bucket.key": "k"})
	if c.Storage.where() != "x" || c.bucket.Retry.where() != "./data" {
		t.Errorf("loaded %+v", c)
	}
	if got, want := runtime(t, r), "storage.kind= bucket   # test\nstorage.bucket.name=x  # test\nstorage.bucket.key=*****  # test\nstorage.bucket.retry.kind=folder  # default\nstorage.bucket.retry.folder.path=./data  # default\n"; got != want {
		t.Errorf("Runtime:\n%swant:\n%s", got, want)
	}
}

func TestChooseErrors(t *testing.T) {
	t.Setenv("S_STORAGE_KIND", "bucket")
	_, err := config.Load(&chooser{}, config.LoadOptions{Sources: []config.Source{
		config.Environ("S_"), config.Map("conf", map[string]string{"storage.bucket.retry.kind": "other", "storage.bucket.key": "k"}),
	}})
	want := `configuration: 2 problems

S_STORAGE_BUCKET_NAME: required, not set
  looked in: process environment, conf
  expects:  string (example: crashes)
  about:    Name of the bucket.
  because:  S_STORAGE_KIND is bucket (process environment)
  fix:      export S_STORAGE_BUCKET_NAME=crashes

S_STORAGE_BUCKET_RETRY_OTHER_N: required, not set
  looked in: process environment, conf
  expects:  int
  because:  S_STORAGE_BUCKET_RETRY_KIND is other (conf)
  fix:      set S_STORAGE_BUCKET_RETRY_OTHER_N or storage.bucket.retry.other.n`
	if err == nil || err.Error() != want {
		t.Errorf("Load: %v\nwant: %s", err, want)
	}
	got := configtest.MustFail(t, &chooser{}, map[string]string{"storage.kind": "buckets"}, "storage.kind")
	if !strings.HasPrefix(got[0].Error(), "storage.kind: \"buckets\" is not one of bucket, folder\n  set in:   test\n  expects:  name: one of bucket, folder\n  default:  folder\n") {
		t.Errorf("MustFail = %v", got)
	}
	// The choice stands by default.
	got = configtest.MustFail(t, component(func(s *config.Spec) {
		config.Choose(s, new(config.Component), "kind", map[string]config.Component{"a": &bucketless{}}, config.Default("a"))
	}), nil, "a.n")
	if got[0].Because != "kind is a (default)" {
		t.Errorf("Because: %q", got[0].Because)
	}
	mustPanic(t, "Choice without choices", func() {
		config.Options(component(func(s *config.Spec) { config.Choose(s, new(storage), "kind", nil) }))
	})
	mustPanic(t, `namespace "A" is not lower snake case`, func() {
		config.Options(component(func(s *config.Spec) {
			config.Choose(s, new(storage), "kind", map[string]storage{"A": &folder{}})
		}))
	})
}

func TestChooseConditions(t *testing.T) {
	var got []string
	for _, o := range config.Options(&chooser{}) {
		line := o.Key.String()
		for _, c := range o.When {
			line += " " + c.Key.String() + "=" + c.Value
		}
		got = append(got, line)
	}
	want := `storage.kind
storage.bucket.name storage.kind=bucket
storage.bucket.key storage.kind=bucket
storage.bucket.retry.kind storage.kind=bucket
storage.bucket.retry.folder.path storage.kind=bucket storage.bucket.retry.kind=folder
storage.bucket.retry.other.n storage.kind=bucket storage.bucket.retry.kind=other
storage.folder.path storage.kind=folder`
	if g := strings.Join(got, "\n"); g != want {
		t.Errorf("Options:\n%s\nwant:\n%s", g, want)
	}
}
