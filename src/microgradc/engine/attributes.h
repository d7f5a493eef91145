/* The attributes that people give to nodes. Changes with what may be put where.
 *
 * The slot `baggage` of a node is its dict, as CPython knows it from tp_dictoffset. So CPython itself reads attributes,
 * and a node without attributes is as large and as fast as if there were none. The dict is of a subclass,
 * Baggage, which also holds what the engine puts there: a label, a closure, an operation's name. A plain dict is there
 * if somebody went round Value's `__setattr__`; it is changed into a Baggage when one is needed.
 *
 * An attribute may close a cycle. So the node is shown to the garbage collector, as one with a closure is, unless the
 * collector has no interest in the attribute's kind: a number, a string, an array.
 */
#ifndef MGC_ATTRIBUTES_H
#define MGC_ATTRIBUTES_H

#include "engine/memory.h"

static PyTypeObject *mgc_baggage_type;

/* The Baggage of a node, or None: a new reference. */
static PyObject *mgc_baggage_or_none(PyObject *self)
{
    PyObject *baggage = ((mgc_object *)self)->baggage;
    return Py_NewRef(baggage && Py_IS_TYPE(baggage, mgc_baggage_type) ? baggage : Py_None);
}

/* The same, made if there is none yet. NULL with an exception. */
static PyObject *mgc_make_baggage(PyObject *self)
{
    mgc_object *o = (mgc_object *)self;
    if (o->baggage && Py_IS_TYPE(o->baggage, mgc_baggage_type)) return Py_NewRef(o->baggage);
    PyObject *made = PyObject_CallNoArgs((PyObject *)mgc_baggage_type);
    if (!made) return NULL;
    PyObject *old = Py_XNewRef(o->baggage);
    if (old && PyDict_Update(made, old) < 0) {
        Py_DECREF(made);
        Py_DECREF(old);
        return NULL;
    }
    Py_XDECREF(old);
    if (o->baggage && Py_IS_TYPE(o->baggage, mgc_baggage_type)) {   /* all this may have run Python code */
        Py_DECREF(made);
        return Py_NewRef(o->baggage);
    }
    old = o->baggage;
    o->baggage = Py_NewRef(made);
    Py_XDECREF(old);
    return made;
}

/* The attributes as they are; NULL without an exception if there are none. Borrowed. */
static inline PyObject *mgc_attributes(PyObject *self)
{
    PyObject *attributes = ((mgc_object *)self)->baggage;
    return attributes && PyDict_GET_SIZE(attributes) ? attributes : NULL;
}

static inline void mgc_track_if_value(PyObject *o)
{
    if (PyObject_TypeCheck(o, mgc_type)) mgc_track(&((mgc_object *)o)->node);
}

/* Nodes that an attribute is, or holds, are shown to the garbage collector too: a cycle may lead through them, as
   from an operand to its result. */
static void mgc_track_values_in(PyObject *value)
{
    mgc_track_if_value(value);
    if (PyList_CheckExact(value) || PyTuple_CheckExact(value)) {
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(value); i++)
            mgc_track_if_value(PySequence_Fast_GET_ITEM(value, i));
    } else if (PyDict_CheckExact(value)) {
        PyObject *key, *entry;
        for (Py_ssize_t i = 0; PyDict_Next(value, &i, &key, &entry);) mgc_track_if_value(entry);
    }
}

/* Set an attribute; delete it if the value is NULL. Returns -1 with an exception. */
static int mgc_set_attribute(PyObject *self, PyObject *name, PyObject *value)
{
    if (!PyUnicode_Check(name)) return PyObject_GenericSetAttr(self, name, value);
    PyObject *descriptor = _PyType_Lookup(Py_TYPE(self), name);
    descrsetfunc set = descriptor ? Py_TYPE(descriptor)->tp_descr_set : NULL;
    if (set) {
        Py_INCREF(descriptor);
        const int result = set(descriptor, self, value);
        Py_DECREF(descriptor);
        return result;
    }
    PyObject *baggage = mgc_make_baggage(self);
    if (!baggage) return -1;
    Py_DECREF(baggage);
    if (value && PyObject_IS_GC(value)) {
        mgc_track(&((mgc_object *)self)->node);
        mgc_track_values_in(value);
    }
    return PyObject_GenericSetAttr(self, name, value);
}

static inline int mgc_delete_attribute(PyObject *self, PyObject *name) { return mgc_set_attribute(self, name, NULL); }

/* `__dict__`, which its reader may put anything into. */
static PyObject *mgc_get_dict(PyObject *self, void *Py_UNUSED(closure))
{
    PyObject *baggage = mgc_make_baggage(self);
    if (baggage) mgc_track(&((mgc_object *)self)->node);
    return baggage;
}

/* The dict stays, for it holds the label too; its entries are replaced. */
static int mgc_set_dict(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value && !PyDict_Check(value)) {
        PyErr_Format(PyExc_TypeError, "__dict__ must be set to a dictionary, got a '%.200s'", Py_TYPE(value)->tp_name);
        return -1;
    }
    PyObject *baggage = mgc_get_dict(self, NULL), *entries = value ? PyDict_Copy(value) : NULL;
    int result = -1;
    if (baggage && (entries || !value)) {
        PyDict_Clear(baggage);
        result = entries ? PyDict_Update(baggage, entries) : 0;
    }
    Py_XDECREF(entries);
    Py_XDECREF(baggage);
    return result;
}

static PyGetSetDef mgc_dict_attribute = {"__dict__", mgc_get_dict, mgc_set_dict, "The attributes given to this node.",
                                         NULL};

/* Let instances have attributes, and the class new methods. Returns -1 with an exception. */
static int mgc_install_attributes(PyTypeObject *type, PyTypeObject *baggage_type)
{
    mgc_baggage_type = (PyTypeObject *)Py_NewRef((PyObject *)baggage_type);
    type->tp_dictoffset = offsetof(mgc_object, baggage);
    type->tp_flags &= ~Py_TPFLAGS_IMMUTABLETYPE;
    PyObject *dict = PyDescr_NewGetSet(type, &mgc_dict_attribute);
    const int failed = !dict || PyDict_SetItemString(type->tp_dict, mgc_dict_attribute.name, dict);
    Py_XDECREF(dict);
    PyType_Modified(type);
    return failed ? -1 : 0;
}

#endif
