/* A PKCS#11 2.40 module in front of a real one. Which fault it plays stands in FOLDER/fault; each login adds a byte to
 * FOLDER/logins. Declared by hand, since not every system with a module has its header: a function list is a version
 * of two bytes and 68 pointers (PKCS#11 2.40 base, C_GetFunctionList). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long ulong_t;
typedef ulong_t (*any_t)();
struct list { unsigned char version[2]; any_t f[68]; };
struct token_info { unsigned char text[96]; ulong_t flags; ulong_t rest[10]; unsigned char versions[4]; unsigned char time[16]; };
struct attribute { ulong_t type; void *value; ulong_t length; };

enum { GET_FUNCTION_LIST = 3, GET_TOKEN_INFO = 6, OPEN_SESSION = 12, LOGIN = 18, GET_ATTRIBUTE_VALUE = 24, DECRYPT = 34 };
enum { CKR_OK = 0, CKR_GENERAL_ERROR = 5, CKR_DEVICE_REMOVED = 0x32, CKR_PIN_LOCKED = 0xA4 };
enum { CKF_USER_PIN_FINAL_TRY = 0x20000, CKF_USER_PIN_LOCKED = 0x40000, CKA_VALUE = 0x11 };

static struct list *real, mine;

static int fault(const char *word) {
    char text[32] = "";
    int file = open(FOLDER "/fault", O_RDONLY);
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 && strcmp(text, word) == 0;
}

static ulong_t get_token_info(ulong_t slot, struct token_info *info) {
    ulong_t code = ((ulong_t (*)(ulong_t, void *))real->f[GET_TOKEN_INFO])(slot, info);
    if (code == CKR_OK && fault("pin-locked")) info->flags |= CKF_USER_PIN_LOCKED;
    if (code == CKR_OK && fault("final-try")) info->flags |= CKF_USER_PIN_FINAL_TRY;
    return code;
}

static ulong_t open_session(ulong_t slot, ulong_t flags, void *application, void *notify, ulong_t *session) {
    while (fault("hang")) pause();
    return ((ulong_t (*)(ulong_t, ulong_t, void *, void *, ulong_t *))real->f[OPEN_SESSION])(slot, flags, application, notify, session);
}

static ulong_t login(ulong_t session, ulong_t user, unsigned char *pin, ulong_t length) {
    int file = open(FOLDER "/logins", O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file < 0 || write(file, ".", 1) != 1) return CKR_GENERAL_ERROR;
    close(file);
    if (fault("login-locked")) return CKR_PIN_LOCKED;
    return ((ulong_t (*)(ulong_t, ulong_t, void *, ulong_t))real->f[LOGIN])(session, user, pin, length);
}

static ulong_t get_attribute_value(ulong_t session, ulong_t object, struct attribute *attributes, ulong_t count) {
    if (count == 1 && attributes[0].type == CKA_VALUE && fault("shows-value")) {
        attributes[0].length = 32;
        if (attributes[0].value) memset(attributes[0].value, 0x42, 32);
        return CKR_OK;
    }
    return ((ulong_t (*)(ulong_t, ulong_t, void *, ulong_t))real->f[GET_ATTRIBUTE_VALUE])(session, object, attributes, count);
}

static ulong_t decrypt(ulong_t session, unsigned char *in, ulong_t in_length, unsigned char *out, ulong_t *out_length) {
    if (fault("removed")) return CKR_DEVICE_REMOVED;
    if (fault("removed-once")) {
        unlink(FOLDER "/fault");
        return CKR_DEVICE_REMOVED;
    }
    return ((ulong_t (*)(ulong_t, void *, ulong_t, void *, ulong_t *))real->f[DECRYPT])(session, in, in_length, out, out_length);
}

ulong_t C_GetFunctionList(struct list **list) {
    if (!real) {
        void *library = dlopen(REAL_MODULE, RTLD_NOW | RTLD_LOCAL);
        ulong_t (*get)(struct list **) = library ? (ulong_t (*)(struct list **))dlsym(library, "C_GetFunctionList") : 0;
        if (!get || get(&real) != CKR_OK) return CKR_GENERAL_ERROR;
        mine = *real;
        mine.f[GET_FUNCTION_LIST] = (any_t)C_GetFunctionList;
        mine.f[GET_TOKEN_INFO] = (any_t)get_token_info;
        mine.f[OPEN_SESSION] = (any_t)open_session;
        mine.f[LOGIN] = (any_t)login;
        mine.f[GET_ATTRIBUTE_VALUE] = (any_t)get_attribute_value;
        mine.f[DECRYPT] = (any_t)decrypt;
    }
    *list = &mine;
    return CKR_OK;
}
