package signature

import (
	"path"
	"regexp"
	"strings"
)

// javaName names a frame by class and function, and the file if that is a source file and not what a
// shrinker or the virtual machine puts there. A native method has none in a text.
func javaName(f *JavaFrame) string {
	name := javaClass(f.Module)
	if function := javaFunction(f.Function); function != "" {
		if name != "" {
			name += "."
		}
		name += function
	}
	if name == "" {
		return ""
	}
	if !f.InApp {
		return clip(name)
	}
	switch path.Ext(f.File) {
	case ".java", ".kt", ".kts", ".scala", ".groovy", ".clj":
		if !strings.ContainsAny(f.File, " ()|:/") && len(f.File) < maxSignature {
			name += "(" + f.File + ")"
		}
	}
	return clip(name)
}

// replacement takes out what is numbered anew by each build or run.
type replacement struct {
	re *regexp.Regexp
	to string
}

func replacements(pairs ...string) (all []replacement) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, replacement{regexp.MustCompile(pairs[i]), pairs[i+1]})
	}
	return all
}

func apply(all []replacement, name string) string {
	if !strings.ContainsAny(name, "0123456789$@-") {
		return name // nothing is numbered
	}
	for _, r := range all {
		name = r.re.ReplaceAllString(name, r.to)
	}
	return name
}

// classNumbers, each with an example.
var classNumbers = replacements(
	`[/+](0x[0-9a-fA-F]+|[0-9]+)$`, ``, // Main$$Lambda$14/0x00007fa9ac002aa0: a hidden class
	`@[0-9a-f]{4,}`, ``, // Main@1b6d3586
	`-\$\$Lambda\$([^.$]+(?:\$[^.$]{1,18})*)\$[A-Za-z0-9_-]{19,}$`, `-$$$$Lambda$$$1`, // -$$Lambda$Main$Xn3kPq…: of D8 until 2020
	`\$\$Lambda\$[0-9]+.*$`, `$$$$Lambda`, // Main$$Lambda$14
	`\$\$InternalSynthetic([A-Za-z]+)\$[^.]*$`, `$$$$InternalSynthetic$1`, // Main$$InternalSyntheticLambda$1$ebaa5387…$0
	`\$\$(EnhancerBy|FastClassBy|KeyFactoryBy)([A-Za-z]+)\$\$[0-9a-fA-F]+.*$`, `$$$$$1$2`, // Basket$$EnhancerBySpringCGLIB$$1a2b3c4d
	`\$\$SpringCGLIB\$\$[0-9]+`, `$$$$SpringCGLIB`, // Basket$$SpringCGLIB$$0
	`\$(ByteBuddy|HibernateProxy|HibernateBasicProxy|MockitoMock)\$[A-Za-z0-9]+`, `$$$1`, // Basket$HibernateProxy$aB3dE9xY
	`_\$\$_jvst[0-9a-f]+_[0-9a-f]+`, `_$$$$_jvst`, // Basket_$$_jvst7b1_0
	`(Generated(?:Method|Constructor|SerializationConstructor)Accessor|\$Proxy|Synthetic[A-Za-z]+|_closure)[0-9]+`, `$1`, // GeneratedMethodAccessor12, $Proxy7
	`^jdk\.proxy[0-9]+\.`, `jdk.proxy.`, // jdk.proxy2.$Proxy7
	`\$[0-9]+`, `$$`, // Basket$1, Basket$1Local, MainKt$main$1$job$2
	`__[0-9]+`, `__`, // shop$fn__1234
)

// functionNumbers, each with an example.
var functionNumbers = replacements(
	`^\$r8\$lambda\$.*$`, `$$r8$$lambda$$`, // $r8$lambda$4AfZ9-dT_x
	`-[A-Za-z0-9_-]{7}(\$default)?$`, `$1`, // Text--4IGK_g: Kotlin, of a value class
	`\$lambda-[0-9]+`, `$$lambda$$`, // pay$lambda-3: Kotlin until 1.7
	`\$[0-9]+`, `$$`, // lambda$pay$3, access$100, pay$lambda$3
	`__[0-9]+`, `__`,
	`@[0-9a-f]{4,}`, ``,
)

func javaClass(name string) string {
	return apply(classNumbers, clip(strings.TrimSpace(name)))
}

func javaFunction(name string) string {
	return apply(functionNumbers, clip(strings.TrimSpace(name)))
}
