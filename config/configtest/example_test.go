package configtest_test

import (
	"testing"

	"salvage/config/configtest"
)

// A test sets the options it is about and says which others it expects to be wrong; neither the environment
// nor other tests matter.
func Example() {
	_ = func(t *testing.T) {
		t.Parallel()
		var o options
		configtest.Load(t, &o, map[string]string{"port": "8080"})
		if o.port != 8080 {
			t.Errorf("port = %d", o.port)
		}
		configtest.MustFail(t, &o, map[string]string{"port": "many"}, "port")
	}
}
