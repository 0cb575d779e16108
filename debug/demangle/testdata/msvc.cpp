// What the Microsoft C++ ABI has a mangling for. No headers: it is compiled for Windows on any machine.
// msvc.sh compiles it and records its symbols.
typedef decltype(nullptr) nullptr_t;
typedef decltype(sizeof(0)) size_t;
namespace std { class type_info; struct strong_ordering { int v; }; template <class T> struct initializer_list { const T *b; size_t n; }; }
void *operator new(size_t, void *);
void *operator new[](size_t);
void operator delete(void *) noexcept;
void operator delete[](void *) noexcept;

// Primitive types, qualifiers, arrays, enumerations.
void primitives(bool, char, signed char, unsigned char, short, unsigned short, int, unsigned, long, unsigned long, long long, unsigned long long, float, double, long double, wchar_t, char16_t, char32_t, nullptr_t) {}
#ifdef __cpp_char8_t
void utf8(char8_t, char8_t const *, const char8_t *, char8_t const *) {}
#endif
void qualified(const char *, char *const, const volatile int *, volatile long *const volatile, const int &, volatile short &, int &&, const long &&, char *__restrict, const char **, char *const *const *) {}
void unaligned(__unaligned int *, const __unaligned long *) {}
void arrays(int (*)[3], int (&)[4][5], const char (&&)[6], int (*)[3], const int (*(*)[2])[7]) {}
enum Plain { A, B };
enum class Scoped : unsigned char { C };
namespace ns { enum Inner { X }; union Union { int i; float f; }; class Class; struct Struct { int a; double b; int f(int); static int s; static const char *const t; virtual ~Struct(); enum E { Z }; struct Deep { struct Deeper { void f(E, Deep *, Deeper &); }; }; }; }
void tags(Plain, Scoped, ns::Inner, ns::Union *, ns::Class &, ns::Struct, Plain, ns::Struct::E, ns::Struct::Deep::Deeper *, const ns::Class &) {}
void repeated(ns::Class *, ns::Class *, ns::Struct *, ns::Struct *, int *, int *, char **, char **, short *, short *, long *, long *, float *, float *, double *, double *, bool *, bool *, wchar_t *, wchar_t *, unsigned *, unsigned *, int *) {}
namespace a { namespace b { namespace c { namespace d { namespace e { namespace f { namespace g { namespace h { namespace i { namespace j { namespace k { struct T {}; void f(T, a::b::c::d::e::f::g::h::i::j::k::T *, ns::Struct) {} } } } } } } } } } } }

// Functions: conventions, pointers to them, variadic ones.
void __cdecl c1(int) {}
void __stdcall c2(int) {}
void __fastcall c3(int) {}
void __vectorcall c4(int) {}
void callbacks(void (*)(int), void (__stdcall *)(int), int (*(*)(char))(long), void (&)(void), void (*const *)(int), void (*)(int, ...), void (*)(void (*)(void))) {}
int (*returns(int))(char) { return 0; }
int (&returnsArray())[4];
int (&returnsArray())[4] { static int x[4]; return x; }
const char *variadic(const char *, ...) { return 0; }
void nothrow() noexcept {}
void takesNothrow(void (*)() noexcept, int (*)(int) noexcept) {}
const ns::Struct *constReturn() { return 0; }
const ns::Union constUnion() { return {}; }
Plain enumReturn() { return A; }
template <class T> void function(T) {}
template void function(void (*)(int));
template <class T> struct Function;
template <class R, class... P> struct Function<R(P...)> { void f() {} };
template struct Function<void()>;
template <class R, class... P> struct Function<R(P..., ...)> { void f() {} };
template struct Function<int(char, ...)>;
template struct Function<int *(char, const long *)>;
template <class T> struct Anything { void f(T *) {} T *g() { return 0; } static T *s; };
template <class T> T *Anything<T>::s;
template <class T> struct Tag { void f() {} };
template struct Tag<void() const>;
template struct Tag<void() volatile &&>;
template struct Tag<int(long) const &>;
template struct Tag<int(long) noexcept>;
template struct Anything<int[3]>;
template struct Anything<const int[3][4]>;
template struct Anything<int[]>;
template struct Anything<const volatile int>;
template struct Anything<const ns::Struct>;
template struct Anything<int *const>;

// Pointers to members.
struct Multi1 { int x; virtual void v(); }; struct Multi2 { int y; virtual void w(); };
struct Multi : Multi1, Multi2 { int z; void f(int) {} void v() override; void w() override; };
struct Virt : virtual Multi1 { int q; void f(int) {} void v() override; };
struct Unknown;
void members(int ns::Struct::*, int (ns::Struct::*)(int), const int ns::Struct::*const, void (ns::Struct::*)() const, int ns::Struct::**, int (*ns::Struct::*)(int), int (ns::Struct::*)[3], void (ns::Struct::*)() &, int ns::Struct::*) {}
void membersOfOthers(int Multi::*, void (Multi::*)(int), int Virt::*, void (Virt::*)(int), int Unknown::*, void (Unknown::*)(int)) {}
int ns::Struct::*memberVariable; const int ns::Struct::*memberVariable2; int (ns::Struct::*memberVariable3)(int); void (Multi::*const volatile memberVariable4)(int) = 0;
template <int ns::Struct::*P> void viaData() {}
template void viaData<&ns::Struct::a>();
template void viaData<nullptr>();
template <int Multi::*P> void viaMulti() {}
template void viaMulti<&Multi::z>();
template void viaMulti<nullptr>();
template <int Virt::*P> void viaVirt() {}
template void viaVirt<&Virt::q>();
template <int (ns::Struct::*P)(int)> void viaFunction() {}
template void viaFunction<&ns::Struct::f>();
template void viaFunction<nullptr>();
template <void (Multi::*P)(int)> void viaMultiFunction() {}
template void viaMultiFunction<&Multi::f>();
template <void (Virt::*P)(int)> void viaVirtFunction() {}
template void viaVirtFunction<&Virt::f>();
template <void (Multi1::*P)()> void viaVirtual() {}
template void viaVirtual<&Multi1::v>();
void Multi1::v() {} void Multi2::w() {} void Multi::v() {} void Multi::w() {} void Virt::v() {}
int ns::Struct::f(int) { return 0; } int ns::Struct::s = 3; const char *const ns::Struct::t = ""; ns::Struct::~Struct() {}
void ns::Struct::Deep::Deeper::f(E, Deep *, Deeper &) {}

// Classes: access, statics, qualifiers of this, operators, structors.
class Access {
	void pri(); static void spri(); virtual void vpri(); static int dpri;
protected:
	void pro(); static void spro(); virtual void vpro(); static int dpro;
public:
	void pub(); static void spub(); virtual void vpub(); static int dpub; static const int *const cdpub; static volatile int vdpub;
	void c() const; void v() volatile; void cv() const volatile; void l() &; void r() &&; void cr() const &&; void n() noexcept; void cn() const noexcept; void rs() __restrict; static void sn() noexcept;
	Access(); Access(const Access &); Access(Access &&) noexcept; explicit Access(int, char = 0); template <class T> Access(T, T *); virtual ~Access();
	operator int(); operator const char *() const; operator ns::Struct &(); operator bool() const noexcept; template <class T> operator T **() const; typedef void (*Callback)(int); operator Callback();
	typedef int (Access::*Member)(int); operator Member();
	Access &operator=(const Access &); Access &operator=(Access &&);
	void operator!(); bool operator==(int); bool operator!=(int); int operator[](int); Access *operator->(); int operator*(); Access &operator++(); Access operator++(int); Access &operator--(); Access operator--(int);
	void operator-(int); void operator+(int); void operator&(int); void operator->*(int); void operator/(int); void operator%(int); void operator<(int); void operator<=(int); void operator>(int); void operator>=(int); void operator,(int); void operator()(int, char); void operator~(); void operator^(int); void operator|(int); void operator&&(int); void operator||(int);
	void operator*=(int); void operator+=(int); void operator-=(int); void operator/=(int); void operator%=(int); void operator>>=(int); void operator<<=(int); void operator&=(int); void operator|=(int); void operator^=(int); void operator<<(int); void operator>>(int);
	void *operator new(size_t); void *operator new[](size_t); void operator delete(void *); void operator delete[](void *); void *operator new(size_t, int);
#ifdef __cpp_impl_three_way_comparison
	int operator<=>(int);
#endif
};
#define DEFINE(f) f {}
DEFINE(void Access::pri()) DEFINE(void Access::spri()) DEFINE(void Access::vpri()) DEFINE(void Access::pro()) DEFINE(void Access::spro()) DEFINE(void Access::vpro()) DEFINE(void Access::pub()) DEFINE(void Access::spub()) DEFINE(void Access::vpub())
int Access::dpri, Access::dpro, Access::dpub; const int *const Access::cdpub = 0; volatile int Access::vdpub;
DEFINE(void Access::c() const) DEFINE(void Access::v() volatile) DEFINE(void Access::cv() const volatile) DEFINE(void Access::l() &) DEFINE(void Access::r() &&) DEFINE(void Access::cr() const &&) DEFINE(void Access::n() noexcept) DEFINE(void Access::cn() const noexcept) DEFINE(void Access::rs() __restrict) DEFINE(void Access::sn() noexcept)
Access::Access() {} Access::Access(const Access &) {} Access::Access(Access &&) noexcept {} Access::Access(int, char) {} Access::~Access() {} template <class T> Access::Access(T, T *) {} template Access::Access(long, long *); template Access::Access(ns::Struct *, ns::Struct **);
Access::operator int() { return 0; } Access::operator const char *() const { return 0; } Access::operator ns::Struct &() { return *(ns::Struct *)0; } Access::operator bool() const noexcept { return false; } template <class T> Access::operator T **() const { return 0; } template Access::operator char **() const; template Access::operator Anything<int> **() const; Access::operator Callback() { return 0; } Access::operator Member() { return 0; }
Access &Access::operator=(const Access &) { return *this; } Access &Access::operator=(Access &&) { return *this; }
DEFINE(void Access::operator!()) bool Access::operator==(int) { return 0; } bool Access::operator!=(int) { return 0; } int Access::operator[](int) { return 0; } Access *Access::operator->() { return 0; } int Access::operator*() { return 0; } Access &Access::operator++() { return *this; } Access Access::operator++(int) { return *this; } Access &Access::operator--() { return *this; } Access Access::operator--(int) { return *this; }
#define BINARY(o) void Access::operator o(int) {}
BINARY(-) BINARY(+) BINARY(&) BINARY(->*) BINARY(/) BINARY(%) BINARY(<) BINARY(<=) BINARY(>) BINARY(>=) void Access::operator,(int) {} void Access::operator()(int, char) {} void Access::operator~() {} BINARY(^) BINARY(|) BINARY(&&) BINARY(||) BINARY(*=) BINARY(+=) BINARY(-=) BINARY(/=) BINARY(%=) BINARY(>>=) BINARY(<<=) BINARY(&=) BINARY(|=) BINARY(^=) BINARY(<<) BINARY(>>)
void *Access::operator new(size_t) { return 0; } void *Access::operator new[](size_t) { return 0; } void Access::operator delete(void *) {} void Access::operator delete[](void *) {} void *Access::operator new(size_t, int) { return 0; }
#ifdef __cpp_impl_three_way_comparison
int Access::operator<=>(int) { return 0; }
#endif
int operator""_kg(unsigned long long) { return 0; }
template <char... C> int operator""_chars() { return 0; }
int literals = 5_kg + 12_chars;
Access *made = new Access[3]; void unmake() { delete[] made; delete made; }

// Thunks and tables.
struct Base1 { virtual void f(); virtual Base1 *clone(); int a; }; struct Base2 { virtual void g(); virtual Base2 *clone2(); int b; virtual ~Base2(); };
struct Derived : Base1, Base2 { void g() override; Derived *clone2() override; ~Derived() override; private: void f() override; protected: Derived *clone() override; };
struct VBase { virtual void v(); int c; virtual ~VBase(); }; struct VDerived : Base1, virtual VBase { VDerived(); void v() override; ~VDerived() override; int d; };
struct VMore : VDerived, Base2 { VMore(); void v() override; void g() override; ~VMore() override; int e; };
struct VBase2 : virtual VBase { VBase2(); void v() override; int e; }; struct Diamond : VDerived, VBase2 { Diamond(); void v() override; ~Diamond() override; };
void Base1::f() {} Base1 *Base1::clone() { return 0; } void Base2::g() {} Base2 *Base2::clone2() { return 0; } Base2::~Base2() {} void Derived::f() {} void Derived::g() {} Derived *Derived::clone() { return 0; } Derived *Derived::clone2() { return 0; } Derived::~Derived() {}
void VBase::v() {} VBase::~VBase() {} VDerived::VDerived() {} void VDerived::v() {} VDerived::~VDerived() {} VMore::VMore() {} void VMore::v() {} void VMore::g() {} VMore::~VMore() {} VBase2::VBase2() {} void VBase2::v() {} Diamond::Diamond() {} void Diamond::v() {} Diamond::~Diamond() {}
void (VMore::*vpointer)() = &VMore::g; void (Base2::*vpointer2)() = &Base2::g; void thrown() { throw Derived(); } void thrown2() { throw (const char *)0; }

// Templates.
template <class... T> struct Pack { template <class... U> void f(T..., U...) {} };
template void Pack<>::f(); template void Pack<int, char *>::f(int, char *, long, ns::Struct); template void Pack<Pack<>, Pack<Pack<int>>>::f(Pack<>, Pack<Pack<int>>);
template <int N, long long L, bool B, char C, unsigned long long U> struct Integers { void f() {} }; template struct Integers<-1, -5000000000, true, 'x', 18446744073709551615u>; template struct Integers<0, 9223372036854775807, false, '\n', 10>; template struct Integers<10, 11, false, -128, 255>; template struct Integers<2147483647, 1, true, 0, 16>;
template <Plain P, Scoped S> void enums() {} template void enums<B, Scoped::C>();
int object; static int hidden; extern const int constant[] = {1}; void target(int) {} void target(char) {}
template <int *P> void pointer() {} template void pointer<&object>(); template void pointer<nullptr>();
template <int &R> void reference() {} template void reference<object>(); template <void (*F)(int)> void call() {} template void call<&target>(); template void call<nullptr>(); template <void (&F)(char)> void callRef() {} template void callRef<target>();
template <const int (&A)[1]> void arrayRef() {} template void arrayRef<constant>();
template <template <class...> class T> struct Takes { void f() {} }; template struct Takes<Pack>; template <template <class> class... T> void takesMany() {} template void takesMany<Anything, Function>();
template <class T, T V> struct Value { void f(Value) {} static void g(Value<T, V> &, Value *) {} }; template struct Value<int, 3>; template struct Value<unsigned char, 200>; template struct Value<int *, &object>; template struct Value<void (*)(int), &target>; template struct Value<nullptr_t, nullptr>;
template <int... N> struct Sequence { void f() {} }; template struct Sequence<>; template struct Sequence<0, 1, 2, 3, 10, 100>;
template <class T> struct Nest { template <class U> struct In { template <class V> void f(T, U, V, Nest<In<V>>) {} }; Nest(); ~Nest(); Nest(T); Nest &operator=(T); template <class U> Nest(U *, T); bool operator==(const Nest &) const; };
template <class T> Nest<T>::Nest() {} template <class T> Nest<T>::~Nest() {} template <class T> Nest<T>::Nest(T) {} template <class T> Nest<T> &Nest<T>::operator=(T) { return *this; } template <class T> bool Nest<T>::operator==(const Nest &) const { return true; } template <class T> template <class U> Nest<T>::Nest(U *, T) {}
template struct Nest<int>; template struct Nest<Nest<Nest<Nest<ns::Struct *>>>>; template void Nest<int>::In<char>::f(int, char, long, Nest<In<long>>); template Nest<char>::Nest(int *, char); template void Nest<Nest<int>>::In<Nest<int>>::f(Nest<int>, Nest<int>, Nest<int> *, Nest<In<Nest<int> *>>);
template <class T> T variable; template int variable<int>; template Nest<int> *variable<Nest<int> *>; 
template <class T> bool operator==(Nest<T>, T) { return true; } template bool operator==(Nest<int>, int); template <class T> T *operator<<(Nest<T> &, T *) { return 0; } template ns::Struct *operator<<(Nest<ns::Struct> &, ns::Struct *); template <class T> void operator<(T, Nest<T>) {} template void operator<(char, Nest<char>);
#if __cplusplus > 201402L
template <auto V> struct Auto { void f() {} }; template struct Auto<1>; template struct Auto<'c'>; template struct Auto<&object>; 
template <auto... V> void autos() {} template void autos<1, 'c', true, nullptr>();
#endif

// Scopes without linkage, locals, lambdas.
namespace { int anonymousVariable; struct Anonymous { void f(Anonymous *, const Anonymous &); virtual ~Anonymous(); template <class T> void t(T); }; void anonymousFunction(Anonymous) {} namespace inner { void g(Anonymous *, Nest<Anonymous> *) {} namespace { void h() {} } } }
void Anonymous::f(Anonymous *, const Anonymous &) {} Anonymous::~Anonymous() {} template <class T> void Anonymous::t(T) {}
namespace ns { namespace { struct Unnamed { void f(Unnamed *) {} }; void u(Unnamed x, Unnamed *y, Anonymous *z) { x.f(y); } } inline namespace v1 { void versioned() {} } }
struct { int x; void f() {} } unnamedVariable; typedef struct { int y; } Typedefed; void typedefed(Typedefed *) {} void usesUnnamed(decltype(unnamedVariable) *) {}
Anonymous makesAnonymous; void use() { anonymousFunction(makesAnonymous); inner::g(&makesAnonymous, 0); inner::h(); ns::u(ns::Unnamed(), 0, 0); unnamedVariable.f(); makesAnonymous.t(1); makesAnonymous.t(makesAnonymous); anonymousVariable = 1; }
int nontrivial(); int nontrivial() { return hidden; }
struct Static { Static(); ~Static(); void f(); }; Static::Static() {} Static::~Static() {} Static globalStatic; namespace ns { Static inNamespace; struct Holder { static Static member; template <class T> static Static generic; }; Static Holder::member; template <class T> Static Holder::generic; template Static Holder::generic<int>; } template <class T> struct Holds { static Static s; }; template <class T> Static Holds<T>::s; template struct Holds<Nest<char>>; thread_local Static perThread; static Static internalStatic; Static arrayOfStatics[2];
inline int &locals(int a) { static int x = nontrivial(); { static int y = nontrivial(); { static Static z; struct Local { void f(int) { static int deep = nontrivial(); ++deep; } virtual ~Local() {} }; Local().f(1); } x += y; } if (a) { struct Local { void f(int) {} }; Local().f(2); } static thread_local int t = nontrivial(); return t ? t : x; }
inline void lambdas() { auto l = [](int a) { static int inLambda = nontrivial(); return a + inLambda; }; auto g = [](auto x, auto *y) { return [=](int z) { return x + z; }(*y); }; int v = l(1); g(1, &v); auto m = [&v](Anything<int> *) mutable noexcept { ++v; }; m(0); function(l); function([] {}); int (*p)(int) = l; p(2); }
void Static::f() { static int inMember = nontrivial(); auto l = [this] { return this; }; l(); function(l); struct In { static void g() { static Static s; } }; In::g(); function(In()); }
template <class T> void genericLocals(T t) { static T s = t; struct Local { void f(T) {} }; Local().f(s); auto l = [](T) { static T inner = T(); return inner; }; l(t); function(Local()); } template void genericLocals(int); template void genericLocals(ns::Struct *); template void genericLocals(Nest<char> *);
extern "C" { inline int cLocal() { static int inC = nontrivial(); struct InC { void f() {} }; InC().f(); return inC; } int cFunction(int) { return cLocal(); } } namespace ns { extern "C" int inNamespaceC(int) { return 0; } }
auto global = [](int, char *) { return 1; }; int calls() { lambdas(); return global(1, 0) + locals(2); } inline auto inlineLambda = nontrivial(); auto deduced(int x) { return [x](ns::Struct *) { return x; }; } auto made2 = deduced(1); decltype(auto) deduced2() { return (object); } void takesLambda() { made2(0); function(made2); function(deduced(2)); }

// Strings.
const char *strings[] = {"", "a", "hello, world", "/path\\with:odd.chars \n\t'-", "\"quoted\" \a\b\f\r\v\x7f", "caf\xc3\xa9 \xff\x80\xe1\xda\xfa", "a string of more than thirty-two characters, which is cut", "exactly thirty-two characters...", "exactly 31 characters, and 0...", "nul\0inside", "nul\0\0\0"};
const wchar_t *wides[] = {L"", L"a", L"wide, \x263a \xff", L"a wide string of more than thirty-two characters is cut too", L"w\0\0"}; const char16_t *utf16s[] = {u"", u"ab", u"sixteen \x263a", u"a string of sixteen bits which is long enough to be cut"}; const char32_t *utf32s[] = {U"", U"ab", U"x\x1f600", U"a string of thirty-two bits that is long enough to be cut"};

// Names that are too long become digests.
#define LONG(x) x##_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name_a_long_name
template <class A1, class A2, class A3, class A4> struct LongTemplate { virtual void f(); }; struct LONG(p) {}; struct LONG(q) {}; struct LONG(r) {}; struct LONG(s) {};
template <class A1, class A2, class A3, class A4> void LongTemplate<A1, A2, A3, A4>::f() {} template struct LongTemplate<LONG(p), LONG(q), LongTemplate<LONG(p), LONG(q), LONG(r), LONG(s)>, LongTemplate<LONG(r), LONG(s), LONG(r) *, LONG(s) *>>;
